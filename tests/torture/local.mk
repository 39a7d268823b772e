# tests/torture: checkpoints under kills, faults, full disks, mutation and fuzzing. Each test has a
# quick tier in `make check` and a long one in `make torture`, of KILLS kills, MUTATIONS mutations and
# FUZZ seconds for each target.
torture_tests = \
	tests/torture/allocations \
	tests/torture/faults \
	tests/torture/mutate

torture_scripts = \
	tests/torture/full.sh \
	tests/torture/fuzz.sh \
	tests/torture/kills.sh \
	tests/torture/pairs.sh

# What the scripts run.
helpers = \
	tests/torture/saver \
	tests/torture/seeds

tests_libtorture_la_SOURCES = tests/torture/torture.c tests/torture/torture.h
tests_torture_allocations_SOURCES = tests/torture/allocations.c tests/torture/shim_malloc.c \
	tests/torture/shim_malloc.h
tests_torture_faults_SOURCES = tests/torture/faults.c tests/torture/shim.c tests/torture/shim.h

# clang's libFuzzer looks at the readers; everything else is as it was built.
EXTRA_DIST += tests/torture/fuzz.c tests/torture/corpus
CLEANFILES = tests/torture/fuzz
CLANG = clang
FUZZ_CFLAGS = -std=gnu11 -g -O1 -fsanitize=fuzzer,address -fno-omit-frame-pointer
tests/torture/fuzz: tests/torture/fuzz.c $(wildcard $(srcdir)/io/*.c) libcleave_internal.la
	$(AM_V_CCLD)MPICH_CC=$(CLANG) $(CC) $(DEFS) $(DEFAULT_INCLUDES) $(AM_CPPFLAGS) $(FUZZ_CFLAGS) \
		-o $@ $(filter %.c,$^) .libs/libcleave_internal.a $(parts_libs) $(LIBS) -lgomp

KILLS = 2000
MUTATIONS = 100000
FUZZ = 3600
.PHONY: torture
torture: $(check_PROGRAMS) cleave
	$(AM_TESTS_ENVIRONMENT) \
	export PAIRS=all FUZZ=$(FUZZ) KILLS=$(KILLS) LIMIT=0 MUTATIONS=$(MUTATIONS) SIZES=100 \
		MPIEXEC_TIMEOUT=86400; \
	for test in $(torture_tests) $(torture_scripts:%=$(srcdir)/%); do \
		$(SHELL) $(srcdir)/tests/launch.sh $$test || exit 1; \
	done
