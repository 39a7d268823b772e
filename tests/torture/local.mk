# tests/torture: checkpoints under kills, faults, full disks and mutation. Each test has a quick tier
# in `make check`, and a long one in `make torture`.
torture_tests = \
	tests/torture/faults \
	tests/torture/mutate

sh_tests = \
	tests/torture/kills.sh

helpers = \
	tests/torture/saver

tests_libtorture_la_SOURCES = tests/torture/torture.c tests/torture/torture.h
# The programs' sources besides NAME.c.
tests_torture_faults_SOURCES = tests/torture/faults.c tests/torture/shim.c tests/torture/shim.h
