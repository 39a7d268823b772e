# lib: the serial ground. No mpi.h.
include_HEADERS += lib/cleave.h lib/cleave_lib.h

libcleave_internal_la_SOURCES += \
	lib/clvi_exp.h \
	lib/clvi_kernel.h \
	lib/clvi_lanes.h \
	lib/clvi_lib.h \
	lib/clvi_twice.h \
	lib/clvi_vector.h \
	lib/norm.inc \
	lib/pointwise.inc \
	lib/softmax.inc \
	lib/update.inc \
	lib/blas.c \
	lib/dtype.c \
	lib/exact.c \
	lib/kernel.c \
	lib/memory.c \
	lib/norm.c \
	lib/pointwise.c \
	lib/random.c \
	lib/softmax.c \
	lib/status.c \
	lib/update.c
