#!/bin/sh
# The user's tool from outside: every verb, exit statuses, JSON, file permissions.
# usage: test_dime_tool.sh DIME VECTORS CHECKER
set -u
DIME=$1
V=$2
CHECKER=$3
S=$V/libdime/signets
BAD=$V/libdime/malformed/signets
T=$(mktemp -d) || exit 2
trap 'rm -rf "$T"' EXIT
failed=0
run=0

# expect STATUS ARG...: runs dime, its output in $T/out and $T/err.
expect() {
    want=$1
    shift
    "$DIME" "$@" >"$T/out" 2>"$T/err" </dev/null
    got=$?
    run=$((run + 1))
    if [ "$got" -ne "$want" ]; then
        echo "FAILED: dime $* -> $got, not $want"
        cat "$T/err"
        failed=$((failed + 1))
    fi
}

# check WHAT COMMAND...: the command must succeed.
check() {
    what=$1
    shift
    run=$((run + 1))
    if ! "$@"; then
        echo "FAILED: $what"
        failed=$((failed + 1))
    fi
}

# json EXPRESSION: about the last output, as the variable j.
json() {
    check "JSON: $1" python3 -c 'import json, sys
j = json.load(open(sys.argv[1]))
sys.exit(0 if eval(sys.argv[2]) else "JSON is %r" % j)' "$T/out" "$1"
}

says() {
    check "stderr says \"$1\"" grep -q "$1" "$T/err"
}

ORGA_POK=$(python3 -c 'import base64; print(base64.b64encode(bytes.fromhex(
"e73c8624309431aef4079675df2b2dc11bbfe3c1a51bda2840803ccdeffabc03")).decode()[:43])')
ORGB_POK=$(python3 -c 'import base64; print(base64.b64encode(bytes.fromhex(
"3143051ea4a0f80ac7c030f78a053c36adad4a39b73515e049362149472cf8dc")).decode())')

echo "# usage"
expect 2
expect 2 signet
expect 2 signet burn
expect 2 signet verify
expect 2 signet verify a b
expect 2 signet verify --no-such "$S/alice.signet"
expect 2 signet show --org "$S/orga.signet" "$S/alice.signet"
expect 2 signet verify --pok short "$S/orga.signet"
expect 2 signet verify --pok "$ORGA_POK=x" "$S/orga.signet"
expect 2 signet verify --org "$S/orga.signet" --org "$S/orgb.signet" "$S/alice.signet"
expect 2 signet fingerprint --core --full "$S/alice.signet"
expect 2 signet split --id "$S/alice.signet" -o "$T/x"
expect 2 signet split "$S/alice.signet" -o "$T/x"
expect 2 signet split --core "$S/alice.signet"
expect 2 signet armor "$S/alice.signet"
expect 2 ssr new --keys "$S/alice.key"
expect 2 ssr new -o "$T/x"
expect 2 keys new
expect 2 keys new -o -
expect 0 --help
for verb in send fetch; do
    check "$verb is not listed" sh -c "! grep -q '$verb' '$T/out'"
done

echo "# files that cannot be read or written"
expect 2 signet show "$T/none"
expect 2 signet show "$T"
expect 2 keys show "$T/none"
expect 2 keys show "$T"
expect 2 signet verify "$S/alice.signet" --org "$T/none"
expect 2 signet verify "$S/alice2.signet" --org "$S/orga.signet" --prev "$T/none"
expect 2 signet armor "$S/alice.signet" -o "$T/none/x"
expect 2 ssr new --keys "$T/none" -o "$T/x"
expect 2 keys new -o "$T/none/x"
check "no file is left of what failed" test ! -e "$T/x"

echo "# fingerprints and JSON of every signet in INDEX.md"
check "fingerprints of INDEX.md" python3 "$CHECKER" "$DIME" "$V"

echo "# show"
expect 0 signet show --json "$S/alice.signet"
json 'j["type"] == "user-signet" and j["valid"] is True and j["layout"] == "L"'
json 'j["split"] == "identified" and j["identifier"] == "alice@orga.example"'
json '[f["type"] for f in j["fields"]] == [1, 2, 5, 6, 16, 21, 93, 94, 160, 200, 251, 253, 254, 255]'
json '{"type": 16, "label": "Name", "value": "Alice Example"}.items() <= j["fields"][4].items()'
json '{"type": 21, "label": "MOBILE", "value": "4105550102"}.items() <= j["fields"][5].items()'
json '{"type": 251, "label": "Nickname", "value": "Al"}.items() <= j["fields"][10].items()'
json 'j["fields"][0]["value"] == "P13AI6qGxNBoO4WEFvXPOrJb10AINvomGlp+1Jz6iYk"'
json 'all(f["usable"] for f in j["fields"])'
expect 0 signet show --json "$S/orgb.signet"
json 'j["type"] == "org-signet"'
json '[f["permissions"] for f in j["fields"] if f["type"] == 2][3] == ["user-signets", "reserved-16"]'
json '[f["usable"] for f in j["fields"] if f["type"] == 2] == [True, True, True, False]'
json '[f["encoding"] for f in j["fields"] if f["type"] == 252] == ["base64"]'
expect 0 signet show --json "$V/prime/org.signet"
json 'j["layout"] == "P" and j["split"] == "core" and j["identifier"] is None'
expect 0 signet show --json "$S/alice.ssr"
json 'j["type"] == "ssr" and list(j["fingerprints"]) == ["ssr"]'
expect 0 signet show --json "$BAD/unassigned28.signet"
json '[f["label"] for f in j["fields"] if not f["usable"]] == ["Unknown-Field"]'
expect 0 signet show "$S/orgb.signet"
check "text names the domain" grep -q "Signet-Identifier: orgb.example" "$T/out"
check "text names the image" grep -q "Image \[PNG, 1 x 1\]" "$T/out"
expect 1 signet show "$BAD/magic.signet"
expect 1 signet show --json "$BAD/magic.signet"
json 'j["type"] == "unknown" and j["valid"] is False and "magic" in j["reason"]'
expect 1 signet show --json "$BAD/order.signet"
json 'j["type"] == "user-signet" and j["valid"] is False and j["reason"] != ""'
expect 1 signet show "$S/alice.key"
says "private key file"
expect 1 signet show --json "$BAD/dos-format-string.signet"
json 'j["valid"] is False'
expect 1 signet show /dev/null

echo "# hostile text does not reach the terminal"
python3 - "$S/alice.signet.bin" "$T/hostile" <<'PY'
import sys
b = open(sys.argv[1], 'rb').read()
assert b'Alice Example' in b
open(sys.argv[2], 'wb').write(b.replace(b'Alice Example', b'A\x1b[31m\xe2\x80\xaeB\\C\n'))
PY
expect 0 signet show "$T/hostile"
check "controls are escaped" grep -qF 'Name: A\u{1b}[31m\u{202e}B\\C\u{a}' "$T/out"
check "no escape octet is printed" sh -c "! grep -q '$(printf '\033')' '$T/out'"
expect 0 signet show --json "$T/hostile"
json '[f["value"] for f in j["fields"] if f["type"] == 16] == ["A\x1b[31m\u202eB\\C\n"]'

echo "# standard input, text around the armour, CRLF"
"$DIME" signet fingerprint - <"$S/alice.signet" >"$T/out"
check "fingerprint of standard input" grep -q '^B3WihxvpRrxue2J2o1KAWFmjWspcemi5Abue8cp0X8f+Aei/Fe3QBMJID4rDeQA/DUcFxgli/4YZSpqgXgXfNQ$' "$T/out"
{ echo "From: x"; sed 's/$/\r/' "$S/alice.signet"; echo "-- "; } >"$T/mail"
expect 0 signet verify "$T/mail" --org "$S/orga.signet"
cat "$S/alice.signet" "$S/bob.signet" >"$T/two"
expect 1 signet show "$T/two"

echo "# verify: who holds"
expect 0 signet verify "$S/alice.signet" --org "$S/orga.signet" --json
json 'j["valid"] is True and j["bound"] is True and j["anchored"] is False and j["chained"] is False'
json 'j["identifier"] == "alice@orga.example" and "reason" not in j and len(j["fields"]) == 14'
expect 0 signet verify "$S/alice.signet" --org "$S/orga.signet" --pok "$ORGA_POK" --json
json 'j["anchored"] is True'
expect 1 signet verify "$S/alice.signet" --org "$S/orga.signet" --pok "$ORGB_POK" --json
json 'j["valid"] is False and "organizational signet" in j["reason"]'
expect 1 signet verify "$S/alice.signet" --json
json 'j["valid"] is False and "no anchor" in j["reason"]'
says "no anchor"
expect 1 signet verify "$S/alice.signet" --org "$S/orgb.signet"
expect 1 signet verify "$S/alice.signet" --org "$S/bob.signet"
expect 0 signet verify "$S/alice.full.signet" --org "$S/orga.signet" --json
json 'j["bound"] is False and j["split"] == "full"'
expect 0 signet verify "$S/alice.core.signet" --org "$S/orga.signet" --json
json 'j["bound"] is False and j["split"] == "core"'
expect 0 signet verify "$S/bob.signet" --org "$S/orgb.signet"
expect 0 signet verify "$S/carol.sok1.signet" --org "$S/orgb.signet"
expect 1 signet verify "$S/carol.sok2.signet" --org "$S/orgb.signet"
expect 0 signet verify "$S/alice2.signet" --org "$S/orga.signet" --prev "$S/alice.signet" --json
json 'j["chained"] is True'
expect 0 signet verify "$S/alice2.signet" --org "$S/orga.signet"
expect 1 signet verify "$S/alice2.signet" --org "$S/orga.signet" --prev "$S/bob.signet"
expect 1 signet verify "$S/alice.signet" --org "$S/orga.signet" --prev "$S/bob.signet"
expect 0 signet verify "$S/orga.signet" --json
json 'j["valid"] is True and j["anchored"] is False and j["bound"] is True'
expect 0 signet verify "$S/orga.signet" --pok "$ORGB_POK" --pok "$ORGA_POK" --json
json 'j["anchored"] is True'
expect 1 signet verify "$S/orga.signet" --pok "$ORGB_POK"
expect 2 signet verify "$S/orga.signet" --org "$S/orgb.signet"
expect 0 signet verify "$S/orgb.core.signet" --json
json 'j["bound"] is False'
expect 0 signet verify "$V/prime/org.signet"
expect 0 signet verify "$S/alice.ssr" --json
json 'j["type"] == "ssr" and j["valid"] is True and j["chained"] is False'
expect 0 signet verify "$S/alice.ssr" --org "$S/orga.signet"
expect 0 signet verify "$BAD/ok.baseline.signet" --org "$S/orga.signet"

echo "# verify: libdime's odd ones, by the decisions"
while read -r want file args; do
    case $args in
    orga | orgb) expect "$want" signet verify "$BAD/$file" --org "$S/$args.signet" ;;
    pok) expect "$want" signet verify "$BAD/$file" --pok "$ORGA_POK" ;;
    *) expect "$want" signet verify "$BAD/$file" ;;
    esac
    if [ "$want" -eq 1 ]; then
        check "a reason for $file" test -s "$T/err"
    fi
done <<'LIST'
1 magic.signet orga
1 len-long.signet orga
1 len-short.signet orga
1 order.signet orga
1 dup-unique.signet orga
1 reserved5-org.signet pok
0 unassigned28.signet orga
1 missing2.signet orga
1 sig255-flip.signet orga
1 format41.signet orga
1 point-uncompressed.signet orga
1 id-upper.signet orga
1 id-other-domain.signet orga
0 id-len2.signet orga
1 id-empty.signet orga
1 org-other-signer.signet pok
1 sok-badlen.signet pok
0 custody-no-prev.signet orga
1 sok4.signet orgb
0 core-only.signet orga
0 armor-leading-text.signet orga
0 armor-ssrtag.ssr none
1 dos-format-string.signet orga
LIST

echo "# fingerprint"
expect 0 signet fingerprint "$S/alice.core.signet"
check "core by default for a core split" grep -q '^NJCvNf69' "$T/out"
expect 0 signet fingerprint --core "$S/alice.signet"
check "core" grep -q '^NJCvNf69' "$T/out"
expect 0 signet fingerprint --id "$S/alice.signet"
check "id" grep -q '^YLx6hgwS' "$T/out"
expect 0 signet fingerprint --ssr "$S/alice.signet"
check "ssr" grep -q '^+QRIgGBQ' "$T/out"
expect 0 signet fingerprint "$S/alice.ssr"
check "ssr by default for a request" grep -q '^+QRIgGBQ' "$T/out"
check "86 characters alone" test "$(wc -c <"$T/out")" -eq 87
expect 1 signet fingerprint --ssr "$S/orga.signet"
expect 1 signet fingerprint --core "$S/alice.ssr"

echo "# split, armor, dearmor"
for who in alice alice2 bob orga orgb; do
    for part in core full; do
        expect 0 signet split "$S/$who.signet" --$part -o "$T/part"
        check "$who $part is libdime's" cmp -s "$T/part" "$S/$who.$part.signet"
        expect 0 signet split "$S/$who.signet.bin" --$part -o "$T/part"
        check "$who $part is libdime's, binary" cmp -s "$T/part" "$S/$who.$part.signet.bin"
    done
    expect 0 signet armor "$S/$who.signet.bin" -o "$T/armored"
    check "$who armoured" cmp -s "$T/armored" "$S/$who.signet"
    expect 0 signet dearmor "$S/$who.signet" -o "$T/binary"
    check "$who in binary" cmp -s "$T/binary" "$S/$who.signet.bin"
done
expect 0 signet dearmor "$S/bob.signet" -o -
check "to standard output" cmp -s "$T/out" "$S/bob.signet.bin"
expect 1 signet split "$S/alice.core.signet" --full -o "$T/nothing"
expect 1 signet split "$S/alice.ssr" --core -o "$T/nothing"
expect 1 signet armor "$BAD/len-long.signet.bin" -o "$T/nothing"
expect 1 signet armor "$V/prime/org.key.bin" -o "$T/nothing"
check "what fails writes nothing" test ! -e "$T/nothing"
expect 0 signet armor "$S/alice.ssr" -o "$T/ssr"
check "requests get magma's label" grep -q "^-----BEGIN SIGNET SIGNING REQUEST-----$" "$T/ssr"

echo "# keys"
(umask 0 && "$DIME" keys new -o "$T/one.key") || failed=$((failed + 1))
check "mode 0600" test "$(stat -c %a "$T/one.key")" = 600
check "label" grep -q "^-----BEGIN USER KEY-----$" "$T/one.key"
cp "$T/one.key" "$T/copy"
expect 2 keys new -o "$T/one.key"
check "never overwritten" cmp -s "$T/one.key" "$T/copy"
ln -s "$T/elsewhere" "$T/link"
expect 2 keys new -o "$T/link"
check "no link is followed" test ! -e "$T/elsewhere"
expect 0 keys new -o "$T/two.key"
check "keys differ" sh -c "! cmp -s '$T/one.key' '$T/two.key'"
expect 0 keys show --json "$T/one.key"
check "no warning for our own file" test ! -s "$T/err"
json 'j["type"] == "user-keys" and j["valid"] is True and [f["label"] for f in j["fields"]] == ["Signing-Key", "Encryption-Key"]'
check "no secret is shown" python3 - "$T/one.key" "$T/out" <<'PY'
import base64, sys
lines = open(sys.argv[1]).read().split('\n')
key = base64.b64decode(''.join(l for l in lines if l[:1] not in '-='))
assert len(key) == 74
out = open(sys.argv[2]).read()
for secret in (key[7:39], key[42:74]):
    text = base64.b64encode(secret).decode().rstrip('=')
    assert text not in out and secret.hex() not in out
PY
expect 0 keys show --json "$S/orga.key"
json 'j["type"] == "org-keys" and j["fields"][0]["label"] == "Primary-Organizational-Key"'
json 'j["fields"][0]["value"] == "'"$ORGA_POK"'" and j["fields"][1]["type"] == 3'
expect 0 keys show "$V/prime/org.key"
expect 0 keys show "$V/prime/org.key.bin"
expect 1 keys show "$V/prime/org.key.encrypted"
says "encrypted"
expect 1 keys show --json "$S/alice.signet"
json 'j["valid"] is False and j["reason"] != ""'
head -c 9000 /dev/zero >"$T/large"
expect 1 keys show "$T/large"
"$DIME" keys show - <"$T/one.key" >"$T/out" 2>/dev/null
check "keys from standard input" grep -q "^user-keys$" "$T/out"

echo "# requests: a user's first and second"
expect 0 ssr new --keys "$T/one.key" -o "$T/one.ssr"
expect 0 signet verify "$T/one.ssr"
expect 0 ssr new --keys "$T/two.key" --prev "$T/one.key" -o "$T/two.ssr"
expect 0 signet verify "$T/two.ssr" --prev "$T/one.ssr" --json
json 'j["chained"] is True and [f["type"] for f in j["fields"]] == [1, 2, 4, 5]'
"$DIME" keys show --json "$T/two.key" 2>/dev/null >"$T/keys"
expect 0 signet show --json "$T/two.ssr"
check "the request has the keys" python3 - "$T/keys" "$T/out" <<'PY'
import json, sys
keys, ssr = (json.load(open(f))["fields"] for f in sys.argv[1:])
assert [k["value"] for k in keys] == [f["value"] for f in ssr[:2]]
PY
expect 1 signet verify "$T/two.ssr" --prev "$S/alice.signet"
expect 1 signet verify "$T/one.ssr" --prev "$T/two.ssr"
expect 1 ssr new --keys "$T/one.key" --prev "$T/one.key" -o "$T/self.ssr"
expect 1 ssr new --keys "$S/orga.key" -o "$T/self.ssr"
expect 1 ssr new --keys "$T/one.key" --prev "$S/orga.key" -o "$T/self.ssr"
check "no request was written" test ! -e "$T/self.ssr"
expect 0 ssr new --keys "$S/alice.key" -o "$T/alice.ssr"
expect 0 signet dearmor "$T/alice.ssr" -o "$T/alice.ssr.bin"
check "alice's request is libdime's, octet for octet" cmp -s "$T/alice.ssr.bin" "$S/alice.ssr.bin"
expect 0 ssr new --keys "$S/alice2.key" --prev "$S/alice.key" -o "$T/alice2.ssr"
expect 0 signet dearmor "$T/alice2.ssr" -o "$T/alice2.ssr.bin"
check "alice's second request too" cmp -s "$T/alice2.ssr.bin" "$S/alice2.ssr.bin"

echo "# a request with a key of its organization"
python3 - "$S/orga.key" "$T/borrowed.key" <<'PY'
import base64, sys
lines = open(sys.argv[1]).read().split('\n')
key = bytearray(base64.b64decode(''.join(l for l in lines if l[:1] not in '-=')))
key[0:2] = (2013).to_bytes(2, 'big')
key[39] = 2
open(sys.argv[2], 'wb').write(key)
PY
expect 0 ssr new --keys "$T/borrowed.key" -o "$T/borrowed.ssr"
expect 0 signet verify "$T/borrowed.ssr"
expect 0 signet verify "$T/borrowed.ssr" --org "$S/orgb.signet"
expect 1 signet verify "$T/borrowed.ssr" --org "$S/orga.signet" --json
json 'j["valid"] is False and "organization" in j["reason"]'

echo "# management records"
POK=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo
expect 0 record parse "pok=$POK pol=strict dx=A.example.com. exp=9999" --json
json 'j["type"] == "record" and j["valid"] is True and j["policy"] == "strict"'
json 'j["dx"] == ["a.example.com"] and j["expiry"] == 365 and len(j["pok"]) == 1'
expect 0 record parse "$V/mrec/orga.mrec.txt"
check "what it says is shown" grep -q "^host          dx.orga.example$" "$T/out"
expect 1 record parse "$V/mrec/padded-pok.txt" --json
json 'j["type"] == "record" and j["valid"] is False and "padded" in j["reason"]'
expect 1 record parse "pok =$POK"
says "space before"
expect 2 record parse "$T/nowhere"
cat >"$T/zone" <<ZONE
; both owners
_dime.example.com. 3600 IN TXT ( "ver=1 pok=$POK "
    "pol=mixed " ) ; the record
_dx.example.com.   3600 IN TXT "ver=1 pok=$POK " "pol=mixed "
ZONE
expect 0 record lint "$T/zone" --json
json 'j["valid"] is True and all(n["kind"] == "advice" for n in j["notes"])'
echo "_dx.example.com. IN TXT \"pok=$POK pol=strict\"" >>"$T/zone"
expect 1 record lint "$T/zone"
says "several records"
printf '"pok=11qYAYKxCrfVS/7TyWQHOg7" "hcvPapiMlrwIaaPcHURo pol=mixed"' >"$T/cut"
expect 0 record parse "$T/cut"
expect 1 record lint "$T/cut" --json
json '"STRING_SPLITS" in [n["code"] for n in j["notes"]]'
expect 1 record lint "sig=$POK"
check "the mistake is named" grep -q "the primary key is .pok." "$T/out"
printf 'pok=%s \033[2J=1' "$POK" >"$T/escape"
expect 1 record lint "$T/escape"
check "nothing moves the terminal" sh -c "! grep -q '$(printf '\033')' '$T/out' '$T/err'"
printf '"pok=' >"$T/open"
expect 1 record parse "$T/open"
says "not closed"
: >"$T/empty"
expect 1 record lint "$T/empty" --json
json 'j["valid"] is False and "no record" in j["reason"]'
"$DIME" record parse - <"$V/mrec/minimal.txt" >"$T/out" 2>/dev/null
check "a record from standard input" grep -q "^primary key" "$T/out"

echo "# names, with nobody to ask"
expect 1 resolve "not a name" --state "$T/state" --offline --json
json 'j["type"] == "resolution" and j["outcome"] == "bad-name" and j["valid"] is False'
expect 75 resolve alice@example.com --state "$T/state" --offline --json
json 'j["outcome"] == "unreachable" and j["temporary"] is True and j["send"] == "later"'
check "the state is the user's alone" sh -c "test \$(stat -c %a '$T/state') = 700"
expect 2 resolve
expect 2 resolve example.com --timeout 0
expect 2 resolve example.com --policy none
expect 2 resolve example.com --state "$T/state" --anchor "$T/nowhere"
expect 1 resolve alice@example.com --state "$T/state" --accept "$(printf 'A%.0s' $(seq 86))"
chmod 755 "$T/state"
expect 2 resolve example.com --state "$T/state" --offline
says "entered by others"

echo "# large files"
head -c 26000000 /dev/zero >"$T/huge"
expect 1 signet show --json "$T/huge"
json 'j["valid"] is False and "larger" in j["reason"]'
check "full disks are noticed" sh -c "'$DIME' signet show '$S/alice.signet' >/dev/full 2>/dev/null; test \$? -eq 2"
check "full disks are noticed by -o" sh -c "'$DIME' signet dearmor '$S/alice.signet' -o /dev/full 2>/dev/null; test \$? -eq 2"

echo "$run checks, $failed failed"
[ "$failed" -eq 0 ]
