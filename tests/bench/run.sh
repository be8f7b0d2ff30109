#!/bin/sh
# Measures the release build of this tree: tests/bench/run.sh [quick]. Builds it first.
# quick: under a minute, one round, for a look; else some minutes.
set -eu
cd "$(dirname "$0")/../.."
cmake --preset release >/dev/null
cmake --build --preset release >/dev/null
exec python3 tests/bench/bench.py build/release "$@"
