# dist: grid, layout, matrix; move and multiply.
include_HEADERS += dist/cleave_dist.h

libcleave_internal_la_SOURCES += \
	dist/clvi_dist.h \
	dist/agree.c \
	dist/grid.c \
	dist/layout.c \
	dist/matrix.c \
	dist/split.c \
	dist/wait.c
