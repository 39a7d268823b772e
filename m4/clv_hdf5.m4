# SPDX-License-Identifier: BSD-3-Clause
#
# clv_hdf5.m4: HDF5 built for the same MPI.

# CLV_CHECK_HDF5: sets HDF5_CFLAGS, HDF5_LIBS, clv_hdf5_version, clv_hdf5_where.
# Plain hdf5.pc is not asked: where several variants are installed it can be empty.
AC_DEFUN([CLV_CHECK_HDF5], [
AC_ARG_WITH([hdf5],
  [AS_HELP_STRING([--with-hdf5=DIR], [prefix of a parallel HDF5 (default: hdf5-mpich.pc)])],
  [], [with_hdf5=])
AC_MSG_CHECKING([for parallel HDF5])
AS_IF([test -n "$with_hdf5"], [
    HDF5_CFLAGS="-I$with_hdf5/include"
    HDF5_LIBS="-L$with_hdf5/lib -Wl,-rpath,$with_hdf5/lib -lhdf5"
    clv_hdf5_where=$with_hdf5],
  [$PKG_CONFIG --exists hdf5-mpich], [
    HDF5_CFLAGS=$($PKG_CONFIG --cflags hdf5-mpich)
    HDF5_LIBS=$($PKG_CONFIG --libs hdf5-mpich)
    clv_hdf5_where=hdf5-mpich.pc], [
    AC_MSG_RESULT([no])
    AC_MSG_ERROR([HDF5 for MPICH not found: there is no hdf5-mpich.pc.
Install it (Debian: libhdf5-mpich-dev), or say where it is by --with-hdf5=DIR.])])

clv_save_CPPFLAGS=$CPPFLAGS clv_save_LIBS=$LIBS
CPPFLAGS="$HDF5_CFLAGS $CPPFLAGS" LIBS="$HDF5_LIBS $LIBS"
AC_LINK_IFELSE([AC_LANG_SOURCE([[
#include <hdf5.h>
#ifndef H5_HAVE_PARALLEL
#error "not parallel"
#endif
#include <stdio.h>
int main(void)
{
    unsigned a, b, c;
    H5get_libversion(&a, &b, &c);
    if (a == H5_VERS_MAJOR && b == H5_VERS_MINOR && c == H5_VERS_RELEASE)
        printf("%u.%u.%u", a, b, c);
    return (void *)H5Pset_fapl_mpio == 0;
}
]])], [clv_hdf5_version=$(./conftest$EXEEXT 2>/dev/null </dev/null)],
  [AC_MSG_RESULT([no])
   AC_MSG_ERROR([the HDF5 of $clv_hdf5_where does not link, or is not parallel
(H5_HAVE_PARALLEL in H5pubconf.h, H5Pset_fapl_mpio in the library).])])
AS_IF([test -z "$clv_hdf5_version"], [
  AC_MSG_RESULT([no])
  AC_MSG_ERROR([the HDF5 of $clv_hdf5_where: headers and library are of different versions, or it does not run.])])
CPPFLAGS=$clv_save_CPPFLAGS LIBS=$clv_save_LIBS
AC_MSG_RESULT([$clv_hdf5_version])
AC_SUBST([HDF5_CFLAGS])
AC_SUBST([HDF5_LIBS])
])
