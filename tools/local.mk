# tools: the `cleave` command, on the public library.
bin_PROGRAMS += cleave
EXTRA_DIST += tools/setup.sh

cleave_LDADD = libcleave.la $(JANSSON_LIBS)
cleave_SOURCES = \
	tools/tool.h \
	tools/bench.c \
	tools/bench.h \
	tools/bench_calibrate.c \
	tools/bench_checkpoint.c \
	tools/bench_collective.c \
	tools/bench_gemm.c \
	tools/bench_linear.c \
	tools/bench_move.c \
	tools/bench_skinny.c \
	tools/chunks.c \
	tools/contender.c \
	tools/convert.c \
	tools/convert.h \
	tools/convert_from_hf.c \
	tools/convert_stream.c \
	tools/convert_to_hf.c \
	tools/diff.c \
	tools/folder.c \
	tools/footprint.c \
	tools/mover.c \
	tools/products.c \
	tools/reading.c \
	tools/data.c \
	tools/doctor.c \
	tools/doctor.h \
	tools/eval.c \
	tools/generate.c \
	tools/hf.h \
	tools/hf_config.c \
	tools/hf_map.c \
	tools/inspect.c \
	tools/launch.c \
	tools/main.c \
	tools/model.c \
	tools/options.c \
	tools/output.c \
	tools/progress.c \
	tools/record.c \
	tools/room.c \
	tools/run.c \
	tools/stats.c \
	tools/saving.c \
	tools/saving.h \
	tools/tokenize.c \
	tools/train.c \
	tools/verify.c
