# layers: parameters, layers, models, optimizers, training.
include_HEADERS += layers/cleave_layers.h

libcleave_internal_la_SOURCES +=
