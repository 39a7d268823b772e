# SPDX-License-Identifier: BSD-3-Clause
#
# clv_mpi.m4: an MPI compiler and the launcher that belongs to it.
#
# Where two MPIs are installed, plain `mpicc` and `mpiexec` can be those of different ones, and a
# program started by the wrong launcher runs as N times "rank 0 of 1" and exits 0. So MPICH is
# looked for by its own names first, and the pair is run before it is believed.

# CLV_PROG_MPICC: chooses CC, before AC_PROG_CC. A CC of the user's is left alone.
AC_DEFUN([CLV_PROG_MPICC], [
PKG_PROG_PKG_CONFIG
AS_IF([test -z "$PKG_CONFIG"], [AC_MSG_ERROR([pkg-config not found])])
AS_IF([test -z "$CC"], [
  AC_CHECK_PROGS([CC], [mpicc.mpich])
  AS_IF([test -z "$CC" && ! $PKG_CONFIG --exists mpich], [
    AS_UNSET([ac_cv_prog_CC])
    AC_CHECK_PROGS([CC], [mpicc])])])
])

# The program that is tried: rank 0 prints the size of the world and the library's version.
m4_define([_CLV_MPI_PROGRAM], [AC_LANG_SOURCE([[
#include <mpi.h>
#include <stdio.h>
#include <string.h>
int main(int argc, char **argv)
{
    int rank, size, length;
    char version[MPI_MAX_LIBRARY_VERSION_STRING];
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    MPI_Get_library_version(version, &length);
    version[strcspn(version, "\r\n")] = 0;
    if (rank == 0) printf("size=%d version=%.80s\n", size, version);
    MPI_Finalize();
    return 0;
}
]])])

# CLV_CHECK_MPI: CC compiles MPI programs, by itself or with the flags of mpich.pc, which are then
# added to CPPFLAGS and LIBS. Sets MPI_REQUIRES for cleave.pc: programs that include
# cleave_dist.h need mpi.h and the MPI library.
AC_DEFUN([CLV_CHECK_MPI], [
AC_MSG_CHECKING([for MPI])
AC_LINK_IFELSE([_CLV_MPI_PROGRAM], [AC_MSG_RESULT([$CC])], [
  CPPFLAGS="$CPPFLAGS $($PKG_CONFIG --cflags mpich 2>/dev/null)"
  LIBS="$($PKG_CONFIG --libs mpich 2>/dev/null) $LIBS"
  AC_LINK_IFELSE([_CLV_MPI_PROGRAM], [AC_MSG_RESULT([$CC with mpich.pc])], [
    AC_MSG_RESULT([no])
    AC_MSG_ERROR([$CC cannot build an MPI program, nor with the flags of mpich.pc.
Install MPICH (Debian: mpich libmpich-dev), or set CC to the compiler of your MPI.])])])
MPI_REQUIRES=
AS_IF([$PKG_CONFIG --exists mpich], [MPI_REQUIRES=mpich])
AC_SUBST([MPI_REQUIRES])
])

# CLV_PROG_MPIEXEC: the launcher with which a program of CC really has two ranks.
# Sets MPIEXEC and clv_mpi_version.
AC_DEFUN([CLV_PROG_MPIEXEC], [
AC_ARG_VAR([MPIEXEC], [launcher that belongs to the MPI of CC])
AC_ARG_WITH([mpiexec],
  [AS_HELP_STRING([--with-mpiexec=PROGRAM], [the same])], [MPIEXEC=$withval])
AC_MSG_CHECKING([for the launcher of this MPI])
clv_seen=
AC_LINK_IFELSE([_CLV_MPI_PROGRAM], [
  clv_bin=$(dirname "$(command -v ${CC%% *})")
  AS_IF([test -n "$MPIEXEC"], [clv_candidates=$MPIEXEC],
    [clv_candidates="mpiexec.mpich $clv_bin/mpiexec mpiexec.hydra mpiexec"])
  MPIEXEC=
  for clv_candidate in $clv_candidates; do
    command -v "$clv_candidate" >/dev/null 2>&1 || continue
    clv_out=$(MPIEXEC_TIMEOUT=60 HWLOC_COMPONENTS=-pci \
      "$clv_candidate" -n 2 ./conftest$EXEEXT 2>&1 </dev/null)
    AS_CASE([$clv_out],
      [size=2*], [
        MPIEXEC=$(command -v "$clv_candidate")
        clv_mpi_version=$(AS_ECHO(["$clv_out"]) | sed -n 's/^size=2 version=//p' | tr -s '\t' ' ')
        break],
      [clv_seen="$clv_seen
  $clv_candidate -n 2: $(AS_ECHO(["$clv_out"]) | sed -n '/@<:@@<:@:alnum:@:>@@:>@/{s/version=.*//;p;q;}')"])
  done])
AS_IF([test -z "$MPIEXEC"], [
  AC_MSG_RESULT([none])
  AC_MSG_ERROR([no launcher started a program of $CC as 2 ranks of one world.
Tried: ${clv_candidates}${clv_seen}
The compiler and the launcher must be those of one MPI: on Debian mpicc.mpich and
mpiexec.mpich (package mpich). Set CC and MPIEXEC to choose another pair.])])
AC_MSG_RESULT([$MPIEXEC])
])
