# SPDX-License-Identifier: BSD-3-Clause
#
# clv_blis.m4: BLIS, which has no .pc file.

# CLV_CHECK_BLIS: sets BLIS_CFLAGS, BLIS_LIBS, clv_blis_dir (empty: the linker's own path).
#
# Debian keeps each threading variant in a folder of its own, and an alternative decides which one
# plain -lblis is: the OpenMP one is looked for by name first.
AC_DEFUN([CLV_CHECK_BLIS], [
AC_ARG_WITH([blis],
  [AS_HELP_STRING([--with-blis=DIR], [folder of libblis, or the prefix it was installed to])],
  [], [with_blis=])
clv_multiarch=$($CC -print-multiarch 2>/dev/null)
clv_save_CPPFLAGS=$CPPFLAGS clv_save_LIBS=$LIBS
clv_blis_found=no
AC_MSG_CHECKING([for BLIS])
AS_IF([test -n "$with_blis"], [
    clv_dirs="$with_blis/lib/$clv_multiarch $with_blis/lib $with_blis"
    clv_includes="$with_blis/include $with_blis/include/blis"],
  [clv_dirs="/usr/lib/$clv_multiarch/blis-openmp /usr/lib/blis-openmp -" clv_includes=])
clv_includes="$clv_includes /usr/include/$clv_multiarch/blis-openmp /usr/include/blis"
# "-" is where the compiler looks by itself.
for clv_blis_dir in $clv_dirs; do
  AS_CASE([$clv_blis_dir],
    [-], [clv_blis_dir= BLIS_LIBS=-lblis],
    [ls "$clv_blis_dir"/libblis.* >/dev/null 2>&1 || continue
     BLIS_LIBS="-L$clv_blis_dir -lblis"])
  for clv_include in $clv_includes -; do
    # A system header: it is not ours to warn about.
    AS_CASE([$clv_include], [-], [BLIS_CFLAGS=], [BLIS_CFLAGS="-isystem $clv_include"])
    CPPFLAGS="$BLIS_CFLAGS $clv_save_CPPFLAGS" LIBS="$BLIS_LIBS $clv_save_LIBS"
    AC_LINK_IFELSE(
      [AC_LANG_PROGRAM([[#include <blis.h>]], [[bli_init(); return (void *)bli_dgemm == 0;]])],
      [clv_blis_found=yes; break 2])
  done
done
CPPFLAGS=$clv_save_CPPFLAGS LIBS=$clv_save_LIBS
AS_IF([test $clv_blis_found = no], [
  AC_MSG_RESULT([no])
  AC_MSG_ERROR([BLIS not found: no blis.h and libblis with bli_dgemm in
  $clv_dirs
Install it (Debian: libblis-openmp-dev), or say where it is by --with-blis=DIR.])])
AC_MSG_RESULT([${clv_blis_dir:-yes}])
AC_SUBST([BLIS_CFLAGS])
AC_SUBST([BLIS_LIBS])
])
