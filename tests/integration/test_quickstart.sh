#!/bin/sh
# The newcomer's first command, on programs that are built already: what it shows is so,
# and nothing is left behind whichever way it ends. Needs root.
# usage: test_quickstart.sh SOURCE_DIR BUILD_DIR
set -u
SOURCE=$1
BUILD=$2
[ "$(id -u)" = 0 ] || { echo 'skipped: not root' && exit 77; }

T=$(mktemp -d) || exit 2
chmod 711 "$T"
mkdir "$T/tmp" && chmod 711 "$T/tmp"
export TMPDIR="$T/tmp"
trap 'rm -rf "$T"' EXIT
failed=0
run=0

# check WHAT COMMAND...
check() {
    what=$1
    shift
    run=$((run + 1))
    if ! "$@"; then
        echo "FAILED: $what"
        failed=$((failed + 1))
    fi
}

# says WHAT EXPRESSION
says() {
    check "$1" grep -Eq -- "$2" "$T/out"
}

quickstart() {
    sh "$SOURCE/provisioning/quickstart.sh" --build-dir "$BUILD" "$@" >"$T/out" 2>&1
}

# Programs that run from below our own directory, whoever started them.
ours() {
    for exe in /proc/[0-9]*/exe; do
        case $(readlink "$exe" 2>/dev/null) in "$TMPDIR"/*) echo "$exe" ;; esac
    done
}

gone() {
    i=0
    while [ -n "$(ours)" ] && [ $i -lt 100 ]; do
        sleep 0.1
        i=$((i + 1))
    done
    [ -z "$(ours)" ]
}

mounts() {
    cut -d ' ' -f 2,3 /proc/self/mounts | grep -F "$TMPDIR"
}

tree() {
    git -C "$SOURCE" status --porcelain 2>/dev/null
}

nothing_left() {
    check "$1: no process is left" gone
    check "$1: no file is left" [ -z "$(ls -A "$TMPDIR")" ]
    check "$1: no mount is left" [ -z "$(mounts)" ]
    check "$1: the source tree is as it was" [ "$(tree)" = "$tree_before" ]
}

tree_before=$(tree)

echo '# what it shows'
began=$(date +%s)
check 'it ends well' quickstart
check 'in less than a minute' [ $(($(date +%s) - began)) -lt 60 ]
check 'in some 30 lines' [ "$(wc -l <"$T/out")" -lt 40 ]
check 'five processes' [ "$(grep -Ec '^(RUNNING)? +(supervisor|vault|ledger|gate) .* yes ' "$T/out")" = 5 ]
check 'only the vault has keys' \
    [ "$(grep -E ' yes +yes$' "$T/out" | awk '{ print $1 }')" = vault ]
says 'fingerprint' '^ +fingerprint [A-Za-z0-9+/]{86}$'
says 'record to publish' \
    '_dime\.orga\.example\. 3600 IN TXT "ver=1 pok=5zyGJDCUMa70B5Z13ystwRu/48GlG9ooQIA8ze/6vAM '
says 'the request came over the socket' '^ISSUED .*alice\.ssr.*submission\.sock'
says 'whose signet it is' '254 Signet-Identifier: alice@orga\.example'
says 'it verifies' '--org .* --pok .*: user-signet holds$'
says 'a flipped bit' '^REFUSED +one bit .*signature does not verify'
says 'known keys' 'mallory@orga\.example .*issued before'
says 'a stranger' 'not on the list .*not for this user'
says 'the chain' '^ +2 +[A-Za-z0-9+/]{86} +custody$'
says 'custody verifies' '--prev alice\.signet: user-signet holds$'
says 'the vault came back' 'back and unsealed in [0-9]+ ms'
says 'the log is whole' 'audit verify: whole; records [0-9]+,.*epochs 2; checkpoints [1-9]'
says 'the search can find' '72 of 72 forms found'
says 'and found nothing' '^MEMORY +(of gates and ledger, [0-9]{7,} octets .*: nothing$|not searched)'
nothing_left 'at the end'

echo '# left running'
check 'with --keep' quickstart --keep
check 'it runs' [ -n "$(ours)" ]
sed -n '/; as root, try$/,/^STOP/p' "$T/out" | sed '1d;/^STOP/d' >"$T/try"
check 'what it says to try works' sh -e "$T/try" >"$T/tried" 2>&1
check 'bob has a signet' grep -q '^user-signet holds$' "$T/tried"
sed -n 's/^STOP *//p' "$T/out" >"$T/stop"
check 'what it says stops it' sh "$T/stop"
nothing_left 'after --keep'

if command -v softhsm2-util >/dev/null; then
    echo '# with a token'
    check 'with --pkcs11' quickstart --pkcs11
    check 'seven processes' \
        [ "$(grep -Ec '^(RUNNING)? +(supervisor|vault|ledger|gate|p11) .* yes ' "$T/out")" = 7 ]
    says 'the token was adopted' '^ADOPTED +adopted +demo, serial '
    says 'a key that was imported' ' pok +ed25519 +demo +imported'
    says 'a key made inside' ' sok +ed25519 +demo +made-inside,never-extractable'
    says 'a host was killed' '^KILLED .*has a signet all the same$'
    says 'the token was away' '^AWAY +the token is pulled out .*token'
    says 'what goes on without it' '^ +seen after [0-9]+ ms; .* goes on: 2 lines of history$'
    says 'what to do next, with the token' '^NEXT +sh provisioning/quickstart.sh --pkcs11 --keep '
    says 'and came back' '^BACK +serving again after [0-9]+ ms, without a restart$'
    says 'a wrong PIN' '^PIN +demo: pin-refused: '
    says 'was tried once' 'tried once; after the file is mended, in use in [0-9]+ ms'
    says 'and did no harm' 'those of before, octet for octet'
    nothing_left 'after --pkcs11'
else
    echo 'skipped: --pkcs11, without softhsm2'
fi

echo '# the front-ends captured'
check 'with --attack' quickstart --attack
says 'what is right is served' "^ +alice's message is signed +ok\$"
says 'what each way got' '^ +1 .* -> '
says 'a thousand abuses' '^1000 abuses, 1000 got what they must get$'
says 'the logs' '^example\.com: .* the log has these and no others$'
says 'what came of it' '^Nothing was given away that should not have been\.'
nothing_left 'after --attack'
timeout -s INT --foreground 1 sh "$SOURCE/provisioning/quickstart.sh" \
    --build-dir "$BUILD" --attack >"$T/out" 2>&1
nothing_left 'after --attack, interrupted'

echo '# what it says of itself'
check 'with --help' quickstart --help
says 'how to run it, which needs no mode' '^ +sh provisioning/quickstart\.sh \[OPTION\]'

echo '# interrupted, at different moments'
for after in 0.2 0.5 0.9 1.3; do
    timeout -s INT --foreground $after sh "$SOURCE/provisioning/quickstart.sh" \
        --build-dir "$BUILD" >"$T/out" 2>&1
    nothing_left "interrupted after $after s"
done

echo '# failing'
# A daemon whose vault is another program: it must be noticed, not shown as a success.
mkdir -p "$T/bad/bin" && cp "$BUILD"/bin/* "$T/bad/bin/" && cp /bin/true "$T/bad/bin/keyd-vault"
good=$BUILD
BUILD=$T/bad
check 'a vault that is none' eval '! quickstart'
says 'and says why' '^quickstart: '
nothing_left 'after a failure'
cp "$good/bin/keyd-vault" "$T/bad/bin/" && rm "$T/bad/bin/dime"
check 'a program that is not there' eval '! quickstart'
says 'which' 'bin/dime is not there'
check 'an unknown option' eval '! quickstart --such'
nothing_left 'after usage errors'

echo "$run checks, $failed failed"
[ "$failed" = 0 ]
