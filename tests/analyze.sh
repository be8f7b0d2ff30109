#!/bin/sh
# Static analysis: gcc -fanalyzer, clang's warnings, clang-tidy, cppcheck. Slow, so apart
# from run.sh.
#
#   tests/analyze.sh [gcc] [clang] [tidy] [cppcheck]     all four without arguments
#
# Zero findings is the rule, over what is shipped; gcc and clang read the tests as well.
# What is kept on purpose is marked where it stands, with the reason beside it.
set -eu

cd "$(dirname "$0")/.."
jobs=$(nproc)
failed=''

note() { printf '\n== %s\n' "$*"; }

# What is shipped, from the compilation database; neither generated code nor tests.
sources() {
    python3 - build/dev/compile_commands.json <<'PY'
import json, os, sys
ours = tuple(os.path.join(os.getcwd(), d, "") for d in ("keyd", "pkcs11", "proto", "client"))
files = {c["file"] for c in json.load(open(sys.argv[1]))}
print("\n".join(sorted(f for f in files if f.startswith(ours))))
PY
}

# Configured for its compilation database, built for its generated headers.
prepare_dev() {
    cmake --preset dev >/dev/null && cmake --build --preset dev -j "$jobs" >/dev/null
}

analyze_gcc() {
    note 'gcc -fanalyzer'
    cmake --preset analyze >/dev/null && cmake --build --preset analyze -j "$jobs"
}

# Everything, where run.sh builds nothing with clang but the fuzz targets.
analyze_clang() {
    note 'clang'
    for preset in clang fuzz; do
        cmake --preset "$preset" >/dev/null && cmake --build --preset "$preset" -j "$jobs" ||
            return 1
    done
}

analyze_tidy() {
    note 'clang-tidy'
    prepare_dev || return 1
    # The database is gcc's: two of its warnings and one option's other half are unknown
    # to clang.
    sources | xargs -P "$jobs" -n 4 clang-tidy --quiet -p build/dev \
        --extra-arg=-Wno-unknown-warning-option \
        --extra-arg=-enable-trivial-auto-var-init-zero-knowing-it-will-be-removed-from-clang
}

analyze_cppcheck() {
    note 'cppcheck'
    prepare_dev || return 1
    mkdir -p build/cppcheck
    includes=$(find keyd proto client pkcs11 -type d -name include 2>/dev/null |
        sed 's/^/-I/')
    # ctuuninitvar takes an output that is written on success for an input.
    # shellcheck disable=SC2086 # words: one option a directory
    sources | cppcheck --file-list=- --std=c11 --enable=warning,portability \
        --suppress=missingIncludeSystem --suppress=ctuuninitvar --inline-suppr --error-exitcode=1 --quiet \
        --cppcheck-build-dir=build/cppcheck -j "$jobs" -D__x86_64__ -D_GNU_SOURCE $includes
}

[ $# -gt 0 ] || set -- gcc clang tidy cppcheck
for tool; do
    case $tool in
    gcc | clang | tidy | cppcheck) "analyze_$tool" || failed="$failed $tool" ;;
    *)
        sed -n '2,5s/^# \{0,1\}//p' "$0" >&2
        exit 2
        ;;
    esac
done
note 'analysis'
[ -z "$failed" ] || { echo "findings:$failed" && exit 1; }
echo 'no findings'
