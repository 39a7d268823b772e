# io: checkpoints, tokens and tokenizers.
include_HEADERS += io/cleave_io.h

libcleave_internal_la_SOURCES += \
	io/clvi_h5.h \
	io/clvi_io.h \
	io/clvi_safetensors.h \
	io/clvi_tokenizer.h \
	io/clvi_tokens.h \
	io/block.c \
	io/bpe.c \
	io/checkpoint.c \
	io/checksum.c \
	io/commit.c \
	io/entries.c \
	io/file.c \
	io/folder.c \
	io/expression.c \
	io/front.c \
	io/h5.c \
	io/h5_file.c \
	io/h5_make.c \
	io/h5_memory.c \
	io/job.c \
	io/level.c \
	io/load.c \
	io/names.c \
	io/read.c \
	io/rows.c \
	io/safetensors.c \
	io/safetensors_header.c \
	io/safetensors_plan.c \
	io/safetensors_writer.c \
	io/saver.c \
	io/stream.c \
	io/table.c \
	io/tokenizer.c \
	io/tokenizer_files.c \
	io/tokenizer_json.c \
	io/tokens.c \
	io/tokens_h5.c \
	io/tokens_writer.c \
	io/verify.c \
	io/view.c \
	io/vocabulary.c
