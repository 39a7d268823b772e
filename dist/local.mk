# dist: grid, layout, matrix; move and multiply.
include_HEADERS += dist/cleave_dist.h

libcleave_internal_la_SOURCES += \
	dist/clvi_dist.h \
	dist/clvi_planner.h \
	dist/clvi_scalapack.h \
	dist/agree.c \
	dist/choose.c \
	dist/cost.c \
	dist/exchange.c \
	dist/gemm_plan.c \
	dist/grid.c \
	dist/jobs.c \
	dist/joint.c \
	dist/layout.c \
	dist/linear_plan.c \
	dist/machine.c \
	dist/matrix.c \
	dist/measure.c \
	dist/move.c \
	dist/pilaenv.c \
	dist/plan.c \
	dist/product.c \
	dist/scalapack.c \
	dist/split.c \
	dist/stubs.c \
	dist/team.c \
	dist/volume.c \
	dist/wait.c
