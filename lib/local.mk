# lib: the serial ground. No mpi.h.
include_HEADERS += lib/cleave.h lib/cleave_lib.h

libcleave_internal_la_SOURCES += \
	lib/clvi_exp.h \
	lib/clvi_kernel.h \
	lib/clvi_lanes.h \
	lib/clvi_lib.h \
	lib/clvi_micro.h \
	lib/clvi_panel.h \
	lib/clvi_skinny.h \
	lib/clvi_twice.h \
	lib/clvi_vector.h \
	lib/norm.inc \
	lib/panel.inc \
	lib/pointwise.inc \
	lib/rotary.inc \
	lib/skinny.inc \
	lib/skinny_stream.inc \
	lib/skinny_tile.inc \
	lib/softmax.inc \
	lib/terms.inc \
	lib/update.inc \
	lib/blas.c \
	lib/dtype.c \
	lib/exact.c \
	lib/gemm.c \
	lib/kernel.c \
	lib/memory.c \
	lib/norm.c \
	lib/pack.c \
	lib/panel.c \
	lib/permutation.c \
	lib/pointwise.c \
	lib/random.c \
	lib/rotary.c \
	lib/skinny.c \
	lib/skinny_kernel.c \
	lib/skinny_stream.c \
	lib/skinny_tile.c \
	lib/softmax.c \
	lib/status.c \
	lib/terms.c \
	lib/tile.c \
	lib/tree.c \
	lib/update.c
