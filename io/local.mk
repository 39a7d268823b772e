# io: checkpoints and text.
include_HEADERS += io/cleave_io.h

libcleave_internal_la_SOURCES += \
	io/clvi_h5.h \
	io/clvi_io.h \
	io/block.c \
	io/checkpoint.c \
	io/checksum.c \
	io/commit.c \
	io/entries.c \
	io/file.c \
	io/folder.c \
	io/front.c \
	io/h5.c \
	io/h5_memory.c \
	io/job.c \
	io/rows.c \
	io/saver.c \
	io/stream.c \
	io/table.c \
	io/text.c
