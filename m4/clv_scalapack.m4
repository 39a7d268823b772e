# SPDX-License-Identifier: BSD-3-Clause
#
# clv_scalapack.m4: ScaLAPACK, on the BLAS that Cleave uses.

# CLV_CHECK_SCALAPACK: sets SCALAPACK_LIBS (BLIS_LIBS included, ahead), SCALAPACK_LDFLAGS,
# clv_blis_file, clv_scalapack_file, clv_lapack_file. After CLV_CHECK_BLIS.
#
# ScaLAPACK and LAPACK need libblas.so.3 and liblapack.so.3, which the system can point at any
# BLAS, often one that starts threads as it is loaded. Two things make BLIS serve them all:
# libblis comes first among the libraries needed, so that dgemm_ is found there; and the folders
# in which libblas.so.3 is BLIS's and liblapack.so.3 is netlib's are in DT_RPATH, which (unlike
# DT_RUNPATH) holds for the libraries of libraries too. Whether it worked is asked of the dynamic
# linker, and a wrong answer stops configure.
AC_DEFUN([CLV_CHECK_SCALAPACK], [
AC_ARG_WITH([scalapack],
  [AS_HELP_STRING([--with-scalapack=DIR|LIBS],
    [folder of the library, or the flags to link it with])], [], [with_scalapack=])
AC_ARG_WITH([lapack],
  [AS_HELP_STRING([--with-lapack=DIR], [folder of a liblapack that calls BLAS by its symbols])],
  [], [with_lapack=])

AS_IF([test -z "$with_lapack" && test -e "/usr/lib/$clv_multiarch/lapack/liblapack.so.3"],
  [with_lapack=/usr/lib/$clv_multiarch/lapack])
SCALAPACK_LDFLAGS=-Wl,--disable-new-dtags
for clv_dir in $clv_blis_dir $with_lapack; do
  SCALAPACK_LDFLAGS="$SCALAPACK_LDFLAGS -Wl,-rpath,$clv_dir"
done
clv_lapack_libs="${with_lapack:+-L$with_lapack }-llapack"
AS_CASE([$with_scalapack],
  [""], [clv_choices="-lscalapack-mpich -lscalapack"],
  [*-l*], [clv_choices=_CLV_GLUE([$with_scalapack])],
  [SCALAPACK_LDFLAGS="$SCALAPACK_LDFLAGS -Wl,-rpath,$with_scalapack"
   clv_choices="-L$with_scalapack@-lscalapack-mpich -L$with_scalapack@-lscalapack"])

clv_save_LIBS=$LIBS clv_save_LDFLAGS=$LDFLAGS
clv_scalapack_found=no
AC_MSG_CHECKING([for ScaLAPACK])
for clv_choice in $clv_choices; do
  clv_choice=$(AS_ECHO(["$clv_choice"]) | tr '@' ' ')
  SCALAPACK_LIBS="$BLIS_LIBS $clv_choice $clv_lapack_libs"
  LDFLAGS="$clv_save_LDFLAGS $SCALAPACK_LDFLAGS"
  LIBS="-Wl,--no-as-needed $SCALAPACK_LIBS $clv_save_LIBS"
  AC_LINK_IFELSE([_CLV_SCALAPACK_PROGRAM], [clv_scalapack_found=yes; break])
done
AS_IF([test $clv_scalapack_found = no], [
  AC_MSG_RESULT([no])
  AC_MSG_ERROR([ScaLAPACK not found: nothing with pdgemm_ by any of
  $(AS_ECHO(["$clv_choices"]) | tr '@' ' ')
Install it (Debian: libscalapack-mpich-dev liblapack-dev), or name it by --with-scalapack.])])
AC_MSG_RESULT([$clv_choice])

AC_MSG_CHECKING([which BLAS ScaLAPACK and LAPACK call])
AC_LINK_IFELSE([_CLV_SCALAPACK_PROGRAM], [clv_where=$(./conftest$EXEEXT 2>&1 </dev/null)],
  [clv_where=])
LIBS=$clv_save_LIBS LDFLAGS=$clv_save_LDFLAGS
clv_blis_file=$(AS_ECHO(["$clv_where"]) | sed -n 's/^bli_dgemm //p')
clv_blas_file=$(AS_ECHO(["$clv_where"]) | sed -n 's/^dgemm_ //p')
clv_lapack_file=$(AS_ECHO(["$clv_where"]) | sed -n 's/^dpotrf_ //p')
clv_scalapack_file=$(AS_ECHO(["$clv_where"]) | sed -n 's/^pdgemm_ //p')
clv_other_blas=$(AS_ECHO(["$clv_where"]) | sed -n 's/^other //p' | tr '\n' ' ')
AC_MSG_RESULT([${clv_blas_file:-unknown}])
AS_IF([test -z "$clv_blis_file" || test "x$clv_blas_file" != "x$clv_blis_file"], [
  AC_MSG_ERROR([ScaLAPACK would not call BLIS: dgemm_ comes from
  ${clv_blas_file:-an unknown file ($clv_where)}
and should come from
  ${clv_blis_file:-libblis}
Is LD_PRELOAD or LD_LIBRARY_PATH set? --with-blis and --with-scalapack choose others.])])
AS_IF([test -n "$clv_other_blas"], [
  AC_MSG_ERROR([ScaLAPACK brings a second BLAS with it, whose threads start as it is loaded:
  $clv_other_blas
LAPACK's dpotrf_ comes from ${clv_lapack_file:-nowhere}.
Install netlib's LAPACK (Debian: liblapack3), or name its folder by --with-lapack=DIR.])])
AC_SUBST([SCALAPACK_LIBS])
AC_SUBST([SCALAPACK_LDFLAGS])
])

# Words of a flag list as one word, so that it can be an item of another list.
m4_define([_CLV_GLUE], [$(AS_ECHO(["$1"]) | tr ' ' '@')])

# Prints the files that the symbols come from as ScaLAPACK finds them, and any other BLAS loaded.
m4_define([_CLV_SCALAPACK_PROGRAM], [AC_LANG_SOURCE([[
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
void pdgemm_(void);
void bli_dgemm(void);
void *used[] = {(void *)pdgemm_, (void *)bli_dgemm};
static void where(const char *symbol)
{
    Dl_info info;
    void *address = dlsym(RTLD_DEFAULT, symbol);
    char *file = address && dladdr(address, &info) ? realpath(info.dli_fname, NULL) : NULL;
    printf("%s %s\n", symbol, file ? file : "");
}
static int other(struct dl_phdr_info *info, size_t size, void *context)
{
    (void)size, (void)context;
    if (strstr(info->dlpi_name, "openblas") || strstr(info->dlpi_name, "mkl_") ||
        strstr(info->dlpi_name, "atlas"))
        printf("other %s\n", info->dlpi_name);
    return 0;
}
int main(void)
{
    where("bli_dgemm");
    where("dgemm_");
    where("dpotrf_");
    where("pdgemm_");
    dl_iterate_phdr(other, NULL);
    return !used[0];
}
]])])
