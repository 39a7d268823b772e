# examples: a numbered course for the C API, on the public library; each runs under make check.
examples = \
	examples/00_grid \
	examples/01_layout_and_move \
	examples/02_multiply \
	examples/03_linear \
	examples/04_mlp \
	examples/05_checkpoint \
	examples/06_low_rank

check_PROGRAMS += $(examples)
TESTS += $(examples)
EXTRA_DIST += examples/quickstart.sh
