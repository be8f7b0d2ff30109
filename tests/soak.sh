#!/bin/sh
# The long tests in full: what tests/run.sh does a tenth of. Hours.
#
#   tests/soak.sh [SCALE] [CTEST OPTION]...
#
# SCALE is how many tenths (default 10). Options go to ctest, e.g. -L fault. The build is
# the release one in build/soak, where tests get the time they then need.
set -eu

cd "$(dirname "$0")/.."
scale=10
case ${1:-} in
-h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p;}' "$0" && exit 0 ;;
[0-9]*) scale=$1 && shift ;;
esac
export KEYD_TEST_SCALE="$scale"

cmake --preset release -B build/soak -DKEYD_TIMEOUT_FACTOR="$((scale * 2))"
cmake --build build/soak -j "$(nproc)"
# One test at a time: several of them measure.
ctest --test-dir build/soak --output-on-failure --no-tests=error -LE '^bench$' "$@"
