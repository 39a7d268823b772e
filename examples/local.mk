# examples: a numbered course for the C API, on the public library; each runs under make check.
examples =

check_PROGRAMS += $(examples)
TESTS += $(examples)
EXTRA_DIST += examples/quickstart.sh
