#!/bin/sh
# Builds keyd and runs its tests. Needs Debian 12 and nothing else: what is missing is
# installed, as root or through sudo.
#
#   tests/run.sh [OPTION]...
#
#   --quick        one build (dev), the tests that are quick: under 4 minutes
#   --no-install   install nothing; fail if something is missing
#   --no-asan      leave out the build with address and undefined sanitizers
#   --no-fuzz      leave out fuzzing (also left out where there is no clang)
#   --no-bench     leave out the measurements
#   --jobs N       at most N at once (default: number of processors); of tests two more,
#                  as most of them wait for disks and clocks
#   --help         this text
#
# Without options: release build and all tests; sanitizer build with its unit, replay
# and conformance tests; every fuzz target for a few seconds; then, alone, the
# measurements. Under 20 minutes on two cores. Exit status 0 if everything passed.
#
# KEYD_TEST_SCALE (default 1) is how many tenths of the long tests are done;
# tests/soak.sh does all of them.
set -eu

cd "$(dirname "$0")/.."
export KEYD_TEST_SCALE="${KEYD_TEST_SCALE:-1}"
export LC_ALL=C.UTF-8

quick=no install=yes asan=yes fuzz=yes bench=yes jobs=$(nproc)
while [ $# -gt 0 ]; do
    case $1 in
    --quick) quick=yes ;;
    --no-install) install=no ;;
    --no-asan) asan=no ;;
    --no-fuzz) fuzz=no ;;
    --no-bench) bench=no ;;
    --jobs) jobs=${2:?--jobs needs a number} && shift ;;
    --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p;}' "$0" && exit 0 ;;
    *) echo "$0: unknown option $1 (--help)" >&2 && exit 2 ;;
    esac
    shift
done

# --- sections: a heading, a command, its time; the summary comes last ---------------------

began=$(date +%s)
failed=0
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
trap 'exit 1' HUP INT TERM
: >"$logs/summary"

# section NAME COMMAND...   status of the command
section() {
    name=$1
    shift
    printf '\n=== %s\n' "$name"
    start=$(date +%s)
    result=ok status=0
    "$@" </dev/null || { result=FAILED status=1 failed=1; }
    printf '%-36s %-7s %5d s\n' "$name" "$result" $(($(date +%s) - start)) >>"$logs/summary"
    tail -n 1 "$logs/summary"
    return $status
}

finish() {
    printf '\n=== summary (%d s in all)\n' $(($(date +%s) - began))
    cat "$logs/summary"
    exit "$failed"
}

# --- steps ---------------------------------------------------------------------------------

packages() {
    . provisioning/packages.sh
    if [ "$install" = yes ]; then
        keyd_packages_install build test && echo 'all there'
        return
    fi
    missing=$(keyd_packages_missing build test | tr '\n' ' ')
    [ -z "$missing" ] || { echo "missing: $missing" && return 1; }
}

# build PRESET [OPTION]...
build() {
    preset=$1
    shift
    cmake --preset "$preset" >"$logs/cmake" 2>&1 || { cat "$logs/cmake" && return 1; }
    cmake --build --preset "$preset" -j "$jobs" "$@"
}

# What was left out here, and why: such tests count as passed.
not_run() {
    awk '
        /^[0-9]+\/[0-9]+ Testing: / { test = $3; why = ""; named = 0 }
        /^skipped: / { why = " (" substr($0, 10) ")"; named = 0 }
        /: skipped$/ { why = " (" substr($0, 1, length($0) - 9) ")"; named = 0 }
        /^\[  SKIPPED \] [A-Za-z]/ && !seen[test, $4]++ {
            print "  not run: " test ": " $4 why
            why = ""; named = 1
        }
        /^<end of output>/ {
            if (why != "" && !named) print "  not run: " test why
            why = ""
        }' "build/$1/Testing/Temporary/LastTest.log"
}

# run_ctest PRESET OPTION...   keeps the closing lines for the summary
run_ctest() {
    preset=$1
    shift
    {
        ctest --preset "$preset" -j "$((jobs + 2))" --output-on-failure --no-tests=error "$@" 2>&1 &&
            echo 0 >"$logs/status" || echo 1 >"$logs/status"
    } | tee "$logs/ctest"
    grep 'tests passed' "$logs/ctest" >>"$logs/summary" || true
    not_run "$preset" >>"$logs/summary" || true
    return "$(cat "$logs/status")"
}

# Every target, from its corpus, for an even share of a minute. A finding is left in build/fuzz/found.
fuzz_smoke() {
    n=$(find build/fuzz/fuzz -maxdepth 1 -name 'fuzz_*' -type f -perm -u+x | wc -l)
    [ "$n" -gt 0 ] || { echo 'no fuzz targets were built' && return 1; }
    seconds=$((60 * jobs / n))
    [ "$seconds" -ge 2 ] || seconds=2
    [ "$seconds" -le 30 ] || seconds=30
    mkdir -p build/fuzz/found
    echo "$n targets, $seconds s each, $jobs at once"
    find build/fuzz/fuzz -maxdepth 1 -name 'fuzz_*' -type f -perm -u+x | sort |
        xargs -P "$jobs" -I '{}' sh tests/fuzz/smoke.sh '{}' "$seconds"
}

measure() {
    ctest --preset release -L '^bench$' -V --no-tests=error
}

# --- what is done --------------------------------------------------------------------------

section 'packages' packages || finish

if [ "$quick" = yes ]; then
    section 'build (dev)' build dev || finish
    section 'quick tests' run_ctest dev \
        -L '^(unit|replay|conformance|integration|sandbox|hardening|docs|style)$' || true
    finish
fi

section 'build (release)' build release || finish
section 'tests (release)' run_ctest release -LE '^(bench|softhsm_long)$' || true

if [ "$asan" = yes ]; then
    section 'build (asan)' build asan &&
        section 'tests (asan)' run_ctest asan -L '^(unit|replay|conformance)$' || true
fi

if [ "$fuzz" = yes ] && ! command -v clang >/dev/null; then
    echo 'no clang: fuzzing left out' | tee -a "$logs/summary"
elif [ "$fuzz" = yes ]; then
    section 'build (fuzz)' build fuzz --target fuzz_targets && section 'fuzz' fuzz_smoke || true
fi

[ "$bench" = no ] || section 'measurements (release)' measure || true
finish
