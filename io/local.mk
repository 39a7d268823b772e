# io: checkpoints and text.
include_HEADERS += io/cleave_io.h

libcleave_internal_la_SOURCES +=
