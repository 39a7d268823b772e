# dist: grid, layout, matrix; move and multiply.
include_HEADERS += dist/cleave_dist.h

libcleave_internal_la_SOURCES += \
	dist/clvi_dist.h \
	dist/clvi_node.h \
	dist/clvi_product.h \
	dist/clvi_scalapack.h \
	dist/agree.c \
	dist/arena.c \
	dist/channel.c \
	dist/choose.c \
	dist/clvi_planner.h \
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
	dist/node.c \
	dist/operand.c \
	dist/pilaenv.c \
	dist/plan.c \
	dist/product.c \
	dist/route.c \
	dist/scalapack.c \
	dist/split.c \
	dist/team.c \
	dist/volume.c \
	dist/wait.c
