#!/bin/sh
# Only the user's tool can write private key files (T-SG-94, D-055): what the vault
# links does not hold the code, nor does any other program that was built.
# usage: test_key_writer.sh LIBDIME-CORE BIN-DIRECTORY
set -u
status=0
writer='dime_dkey_(write|generate)'
if nm "$1" 2>/dev/null | grep -Eq "$writer"; then
    echo "FAILED: $1 can write key files"
    status=1
fi
nm "$1" 2>/dev/null | grep -q dime_dkey_load || {
    echo "FAILED: $1 has no symbols to look at"
    status=1
}
seen=0
for program in "$2"/*; do
    [ -f "$program" ] && [ -x "$program" ] || continue
    if nm "$program" 2>/dev/null | grep -Eq "$writer"; then
        if [ "${program##*/}" = dime ]; then
            seen=1
        else
            echo "FAILED: $program can write key files"
            status=1
        fi
    fi
done
[ "$seen" -eq 1 ] || {
    echo "FAILED: dime was not found, so the search is of no use"
    status=1
}
exit $status
