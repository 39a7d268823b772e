# layers: parameters, layers, models, optimizers, training.
include_HEADERS += layers/cleave_layers.h

libcleave_internal_la_SOURCES += \
	layers/clvi_layers.h \
	layers/batch.c \
	layers/config.c \
	layers/evaluate.c \
	layers/model.c \
	layers/optimizer.c \
	layers/param.c \
	layers/placement.c \
	layers/sample.c \
	layers/schedule.c \
	layers/train.c
