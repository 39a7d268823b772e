# layers: parameters, layers, models, optimizers, training.
include_HEADERS += layers/cleave_layers.h

libcleave_internal_la_SOURCES += \
	layers/clvi_layers.h \
	layers/attention.c \
	layers/attention_core.c \
	layers/batch.c \
	layers/config.c \
	layers/embedding.c \
	layers/evaluate.c \
	layers/layer.c \
	layers/leaves.c \
	layers/linear.c \
	layers/loss.c \
	layers/mlp.c \
	layers/model.c \
	layers/norm.c \
	layers/optimizer.c \
	layers/param.c \
	layers/placement.c \
	layers/residual.c \
	layers/rowstats.c \
	layers/sample.c \
	layers/schedule.c \
	layers/train.c \
	layers/vector.c
