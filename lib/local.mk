# lib: the serial ground. No mpi.h.
include_HEADERS += lib/cleave.h lib/cleave_lib.h

libcleave_internal_la_SOURCES += \
	lib/clvi_lib.h
