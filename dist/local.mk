# dist: grid, layout, matrix; move and multiply.
include_HEADERS += dist/cleave_dist.h

libcleave_internal_la_SOURCES += \
	dist/clvi_dist.h \
	dist/clvi_node.h \
	dist/clvi_product.h \
	dist/clvi_scalapack.h \
	dist/agree.c \
	dist/arena.c \
	dist/candidate.c \
	dist/channel.c \
	dist/cost.c \
	dist/exchange.c \
	dist/grid.c \
	dist/layout.c \
	dist/matrix.c \
	dist/move.c \
	dist/node.c \
	dist/pilaenv.c \
	dist/operand.c \
	dist/plan.c \
	dist/product.c \
	dist/route.c \
	dist/scalapack.c \
	dist/split.c \
	dist/wait.c
