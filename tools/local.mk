# tools: the `cleave` command, on the public library.
EXTRA_DIST += tools/setup.sh

