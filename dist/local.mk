# dist: grid, layout, matrix; move and multiply.
include_HEADERS += dist/cleave_dist.h dist/cleave_scalapack.h

libcleave_internal_la_SOURCES += \
	dist/clvi_dist.h \
	dist/clvi_scalapack.h \
	dist/agree.c \
	dist/candidate.c \
	dist/cost.c \
	dist/exchange.c \
	dist/grid.c \
	dist/layout.c \
	dist/matrix.c \
	dist/move.c \
	dist/pilaenv.c \
	dist/plan.c \
	dist/product.c \
	dist/scalapack.c \
	dist/scalapack_convert.c \
	dist/scalapack_cyclic.c \
	dist/scalapack_deal.c \
	dist/scalapack_factor.c \
	dist/scalapack_gemm.c \
	dist/split.c \
	dist/wait.c
