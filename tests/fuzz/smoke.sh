#!/bin/sh
# One fuzz target for some seconds, from its corpus, into a directory that goes again.
#
#   tests/fuzz/smoke.sh build/fuzz/fuzz/fuzz_NAME SECONDS
set -eu

target=$1 seconds=$2
here=$(dirname "$0")
name=$(basename "$target")
new=$(mktemp -d)
trap 'rm -rf "$new"' EXIT
trap 'exit 1' HUP INT TERM

corpus=$here/corpus/${name#fuzz_}
[ -d "$corpus" ] || { echo "$name: no corpus" && exit 1; }
dict=$here/dict/${name#fuzz_}.dict
set -- "-max_total_time=$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
    "-artifact_prefix=$(dirname "$target")/../found/$name-"
[ ! -f "$dict" ] || set -- "$@" "-dict=$dict"
if "$target" "$@" "$new" "$corpus" >"$new.log" 2>&1; then
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$new.log")
    echo "$name: ok, $runs executions"
    rm -f "$new.log"
else
    echo "$name: FAILED"
    tail -n 60 "$new.log"
    rm -f "$new.log"
    exit 1
fi
