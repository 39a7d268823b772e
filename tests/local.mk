# tests: one line in a list adds a test. A program's first comment declares its numbers of ranks.

# Without MPI; built of tests/unit/NAME.c and check_serial.c.
unit_tests = \
	tests/unit/bits \
	tests/unit/blas \
	tests/unit/config \
	tests/unit/dtype \
	tests/unit/exact \
	tests/unit/gemm \
	tests/unit/memory \
	tests/unit/names \
	tests/unit/norm \
	tests/unit/panel \
	tests/unit/permutation \
	tests/unit/pointwise \
	tests/unit/random \
	tests/unit/rotary \
	tests/unit/safetensors \
	tests/unit/schedule \
	tests/unit/skinny \
	tests/unit/softmax \
	tests/unit/split \
	tests/unit/status \
	tests/unit/terms \
	tests/unit/tokenizer \
	tests/unit/update \
	tests/unit/view

# Under the launcher; built of tests/mpi/NAME.c and check_mpi.c.
mpi_tests = \
	tests/mpi/arena \
	tests/mpi/checkpoint \
	tests/mpi/checkpoint_faults \
	tests/mpi/checkpoint_folder \
	tests/mpi/checkpoint_pieces \
	tests/mpi/cyclic \
	tests/mpi/factor \
	tests/mpi/exchange \
	tests/mpi/gemm \
	tests/mpi/gpt \
	tests/mpi/gpt_naive \
	tests/mpi/grid \
	tests/mpi/layers_attention \
	tests/mpi/layers_embedding \
	tests/mpi/layers_linear \
	tests/mpi/layers_loss \
	tests/mpi/layers_mlp \
	tests/mpi/layers_norm \
	tests/mpi/layers_params \
	tests/mpi/layers_reproducible \
	tests/mpi/layout \
	tests/mpi/load \
	tests/mpi/load_memory \
	tests/mpi/machine \
	tests/mpi/matrix \
	tests/mpi/move \
	tests/mpi/optimizer \
	tests/mpi/plan \
	tests/mpi/plan_memory \
	tests/mpi/planner \
	tests/mpi/reproducible \
	tests/mpi/reproducible_training \
	tests/mpi/safetensors \
	tests/mpi/saver_background \
	tests/mpi/scalapack \
	tests/mpi/streamed \
	tests/mpi/tokens \
	tests/mpi/train \
	tests/mpi/volumes \
	tests/mpi/wait

include tests/torture/local.mk

# Shell scripts, on the built command and library.
sh_tests = \
	tests/bench.sh \
	tests/convert.sh \
	tests/h5py.sh \
	tests/inspect.sh \
	tests/library.sh \
	tests/scaling/quick.sh \
	tests/nodes.sh \
	tests/tokenizer.sh \
	tests/tokens.sh \
	tests/tool.sh \
	tests/train_crash.sh \
	$(torture_scripts)

# Not tests: what the scripts run.
helpers += \
	tests/unit/skinny_speed

check_PROGRAMS += $(unit_tests) $(mpi_tests) $(torture_tests) $(helpers)
TESTS += $(unit_tests) $(mpi_tests) $(torture_tests) $(sh_tests)
noinst_HEADERS = \
	tests/check.h \
	tests/grids.h \
	tests/mpi/layers_common.h \
	tests/mpi/polite.h \
	tests/mpi/scratch.h \
	tests/reference.h \
	tests/unit/vectors.h
EXTRA_DIST += $(sh_tests) tests/command.sh tests/hf_models.py tests/launch.sh tests/run.sh \
	tests/installcheck.sh

# Not tests either: minutes of measuring, by hand or by `make scaling`, which leaves tables and JSON
# lines in the build folder.
scaling_scripts = strong weak shapes
EXTRA_DIST += tests/scaling/common.sh tests/scaling/table.awk tests/scaling/shapes.txt \
	$(scaling_scripts:%=tests/scaling/%.sh)
.PHONY: scaling
scaling: cleave
	for script in $(scaling_scripts); do \
		MPIEXEC='$(MPIEXEC)' CLEAVE='$(abs_top_builddir)/cleave' OUT="$$script.jsonl" \
			$(SHELL) $(srcdir)/tests/scaling/$$script.sh || exit 1; \
	done

# What a program links follows from its folder.
check_LTLIBRARIES = tests/libunit.la tests/libmpi.la tests/libtorture.la
tests_libunit_la_SOURCES = tests/check.c tests/check_serial.c
tests_libmpi_la_SOURCES = tests/check.c tests/check_mpi.c tests/mpi/layers_common.c
tests/unit/%: folder_libs = tests/libunit.la libcleave_internal.la $(parts_libs)
tests/mpi/%: folder_libs = tests/libmpi.la libcleave_internal.la $(parts_libs)
tests/torture/%: folder_libs = tests/libtorture.la tests/libmpi.la libcleave_internal.la $(parts_libs)
examples/%: folder_libs = libcleave.la -no-install
LDADD = $(folder_libs)
$(check_PROGRAMS): $(check_LTLIBRARIES) libcleave_internal.la libcleave.la

# tests/launch.sh is the driver of all of them: it runs a test once for each number of ranks.
TEST_EXTENSIONS = .sh
LOG_DRIVER = $(SHELL) $(srcdir)/tests/launch.sh
SH_LOG_DRIVER = $(LOG_DRIVER)
AM_TESTS_ENVIRONMENT = \
	MPIEXEC='$(MPIEXEC)'; export MPIEXEC; \
	abs_top_srcdir='$(abs_top_srcdir)'; export abs_top_srcdir; \
	abs_top_builddir='$(abs_top_builddir)'; export abs_top_builddir; \
	CLEAVE='$(abs_top_builddir)/cleave'; export CLEAVE;

installcheck-local:
	PKG_CONFIG_PATH='$(DESTDIR)$(pkgconfigdir)' CC='$(CC)' MPIEXEC='$(MPIEXEC)' PKG_CONFIG='$(PKG_CONFIG)' \
	CLEAVE='$(DESTDIR)$(bindir)/cleave' $(SHELL) $(srcdir)/tests/installcheck.sh $(srcdir)/README.md
