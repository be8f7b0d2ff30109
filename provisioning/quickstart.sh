#!/bin/sh
# From a fresh clone on a bare Debian 12 to an organization that issues signets: builds
# keyd, runs it in a directory of its own, shows what it does and what it refuses.
#
#   sh provisioning/quickstart.sh [OPTION]...
#
#   --keep           leave the daemon running, and say how to stop it
#   --pkcs11         with the keys in a PKCS#11 token, of SoftHSM: the same, and what
#                    happens when the token goes away or gets a wrong PIN
#   --attack         instead: two daemons, whose front-ends are an intruder's; a thousand
#                    abuses, and what each got (tests/captured-frontend)
#   --build-dir DIR  build nothing, use what DIR/bin has
#   --no-install     install no packages
#   --help           this text
#
# As root or able to use sudo, since each process of keyd gets a user of its own: user
# ids that nobody has; no user is made. Without --keep everything is stopped and removed
# at the end. Nothing outside of the directory is touched but the packages and build/.
# Exit status 0 if all went as it says.
set -eu

from=$(pwd)
cd "$(dirname "$0")/.."
export LC_ALL=C.UTF-8

keep=no attack=no pkcs11=no install=yes build_dir=
while [ $# -gt 0 ]; do
    case $1 in
    --keep) keep=yes ;;
    --pkcs11) pkcs11=yes ;;
    --attack) attack=yes ;;
    --build-dir) build_dir=${2:?--build-dir needs a directory} && shift ;;
    --no-install) install=no ;;
    --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p;}' "$0" && exit 0 ;;
    *) echo "$0: unknown option $1 (--help)" >&2 && exit 2 ;;
    esac
    shift
done

programs='dime-keyd keyd-vault keyd-gate keyd-ledger keyd-p11 keydctl dime'
attacker=tests/captured_frontend
vectors=tests/vectors/libdime/signets
domain=orga.example
dir='' keyd=''

fail() {
    echo "quickstart: $*" >&2
    exit 1
}

# --- building -------------------------------------------------------------------------

build() {
    targets=$programs
    [ "$attack" = no ] || targets="$programs keyd-check captured_frontend"
    log=$(mktemp)
    trap 'rm -f "$log"' EXIT
    trap 'exit 130' HUP INT TERM
    if ! cmake --preset release >"$log" 2>&1; then
        cat "$log"
        rm -f "$log"
        fail 'configuring failed'
    fi
    # shellcheck disable=SC2086 # words: one argument a program
    if [ -t 1 ]; then # ninja shows one line that moves
        cmake --build --preset release --target $targets || fail 'building failed'
    elif ! cmake --build --preset release --target $targets >"$log" 2>&1; then
        tail -n 40 "$log"
        rm -f "$log"
        fail 'building failed'
    fi
    rm -f "$log"
}

case $build_dir in
'' | /*) ;;
*) build_dir=$from/$build_dir ;;
esac
if [ -z "$build_dir" ]; then
    if [ "$install" = yes ]; then
        . provisioning/packages.sh
        keyd_packages_install build
        [ "$pkcs11" = no ] || keyd_packages_install softhsm
    fi
    echo 'building (release; half a minute or so the first time)'
    build
    build_dir=$(pwd)/build/release
fi
for program in $programs; do
    [ -x "$build_dir/bin/$program" ] || fail "$build_dir/bin/$program is not there"
done
[ "$attack" = no ] || [ -x "$build_dir/$attacker" ] ||
    fail "$build_dir/$attacker is not there"

[ "$attack" = no ] || [ "$keep" = no ] || fail '--attack leaves nothing to keep'
[ "$attack" = no ] || [ "$pkcs11" = no ] || fail '--attack has no tokens'
[ "$pkcs11" = no ] || command -v softhsm2-util >/dev/null ||
    fail 'needs SoftHSM (package softhsm2)'

if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || fail 'neither root nor able to use sudo'
    set -- --build-dir "$build_dir"
    [ "$keep" = no ] || set -- "$@" --keep
    [ "$attack" = no ] || set -- "$@" --attack
    [ "$pkcs11" = no ] || set -- "$@" --pkcs11
    exec sudo sh provisioning/quickstart.sh "$@"
fi
command -v setpriv >/dev/null && command -v python3 >/dev/null ||
    fail 'needs setpriv (util-linux) and python3'

# --- what is shown ----------------------------------------------------------------------

# say COLUMN WORD...
say() {
    column=$1
    shift
    printf '%-9s %s\n' "$column" "$*"
}

more() {
    sed 's/^/          /'
}

now_ms() {
    date +%s%3N
}

# As the operator.
ctl() {
    "$bin/keydctl" "$@" --socket "$run/admin/admin.sock"
}

# as UID COMMAND...   a member of the group that may open the sockets
as() {
    uid=$1
    shift
    setpriv --reuid "$uid" --regid "$group" --clear-groups --no-new-privs "$@"
}

# issue UID ADDRESS REQUEST [OPTION]...
issue() {
    who=$1 address=$2 request=$3
    shift 3
    as "$who" "$bin/keydctl" signet issue "$address" "$request" "$@" \
        --socket "$run/submission.sock"
}

# refused WHAT BECAUSE UID ADDRESS REQUEST   must be refused, and for this reason
refused() {
    what=$1 because=$2
    shift 2
    if issue "$@" >"$dir/refused" 2>&1; then
        fail "$what: was not refused"
    fi
    grep -q "$because" "$dir/refused" || fail "$what: refused because $(cat "$dir/refused")"
    # The sentence, without the names of program and socket.
    why=$(sed -n '1{s/^keydctl: //;s/^refused ([a-z ]*): //;s/^[^ ]*\.sock: //;s/ \[.*//;p;}' \
        "$dir/refused")
    printf '%-9s %-38s %s\n' "$mark" "$what" "$why"
    mark=
}

# --- start and end ----------------------------------------------------------------------

ended() {
    i=0
    while kill -0 "$1" 2>/dev/null && [ $i -lt 150 ]; do
        sleep 0.1
        i=$((i + 1))
    done
    ! kill -0 "$1" 2>/dev/null
}

# The daemon is a child of this shell, so its number is its own until it is waited for.
clean_up() {
    status=$?
    trap '' HUP INT TERM
    if [ -n "$keyd" ]; then
        kill "$keyd" 2>/dev/null || true
        ended "$keyd" || kill -9 "$keyd" 2>/dev/null || true
        wait "$keyd" 2>/dev/null || true
    fi
    if [ "$status" != 0 ] && [ "$status" != 130 ] && [ -n "$dir" ] && [ -s "$dir/log" ]; then
        echo "quickstart: the daemon's last lines:" >&2
        tail -n 15 "$dir/log" >&2
    fi
    [ -z "$dir" ] || rm -rf "$dir"
    exit "$status"
}
trap clean_up EXIT
trap 'exit 130' HUP INT TERM

# Six numbers in a row that are neither user nor group nor anybody's process.
free_ids() {
    first=64200
    while [ $first -lt 64900 ]; do
        used=no
        for id in $(seq $first $((first + 5))); do
            if getent passwd "$id" >/dev/null || getent group "$id" >/dev/null ||
                grep -qs "^Uid:.*[[:space:]]${id}[[:space:]]" /proc/[0-9]*/status; then
                used=yes
            fi
        done
        [ $used = yes ] || { echo $first && return; }
        first=$((first + 6))
    done
    return 1
}

# The roles run under their own users, who must be able to reach and run the programs:
# not so in the home of root, nor where nothing may be executed.
make_dir() {
    for parent in "${TMPDIR:-/tmp}" /var/tmp; do
        dir=$(mktemp -d "$parent/keyd-quickstart.XXXXXX") || continue
        chmod 711 "$dir"
        bin=$dir/bin run=$dir/run
        mkdir -m 755 "$bin"
        for program in $programs; do
            install -m 755 "$build_dir/bin/$program" "$bin/"
        done
        if as "$front" "$bin/keydctl" --version >/dev/null 2>&1; then
            return
        fi
        rm -rf "$dir"
        dir=
    done
    fail "no directory whose programs another user can run (TMPDIR?)"
}

configure() {
    cat >"$dir/keyd.conf" <<CONF
state-directory = "$dir/state"
run-directory = "$run"
credential = "$dir/credential"
user-gate = "$first"
user-vault = "$((first + 1))"
user-ledger = "$((first + 2))"
user-p11 = "$p11"
group = "$group"
single-operator = yes
audit-checkpoint-interval = 10

domain "$domain" {
    issue-profile-fields = { 16 }
}

principal "operator" {
    uid = 0
    class = "admin"
    operations = {
        "TokenInit", "AddUnsealSlot", "Unseal", "Seal", "GenerateKey", "RetireKey",
        "ImportKey", "IssueOrgSignet", "SignTlsRecord", "LookupSignet", "LookupHistory", "VerifyCurrent",
        "AuditRead", "AuditHead", "PolicyExplain", "Reload", "Drain", "RegistryBackup",
        "SetQuorum", "ApprovalList", "ApprovalShow", "ApprovalSign",
        "TokenList", "TokenDoctor", "TokenAdopt",
    }
    domains = { "$domain" }
}

principal "submission-server" {
    uid = $front
    class = "submission"
    operations = { "IssueUserSignet", "LookupSignet" }
    domains = { "$domain" }
}
CONF
    (umask 077 && head -c 64 /dev/urandom >"$dir/credential")
    # Copies that the submission server and the operator may read, and nobody else.
    install -m 600 "$vectors/orga.key" "$dir/orga.key"
    install -m 644 "$vectors/alice.ssr" "$vectors/alice2.ssr" "$dir/"
    install -d -o "$front" -g "$group" -m 755 "$dir/mail"
}

# A token of SoftHSM, of the one user who may read it, and its PIN.
make_token() {
    pin=$(head -c 8 /dev/urandom | od -An -tx1 | tr -d ' \n')
    install -d -o "$p11" -g "$p11" -m 700 "$dir/tokens" "$dir/tokens/softhsm"
    cat >"$dir/softhsm2.conf" <<CONF
directories.tokendir = $dir/tokens/softhsm
objectstore.backend = file
log.level = ERROR
CONF
    chmod 644 "$dir/softhsm2.conf"
    SOFTHSM2_CONF=$dir/softhsm2.conf setpriv --reuid "$p11" --regid "$p11" --clear-groups \
        softhsm2-util --init-token --free --label demo --pin "$pin" --so-pin "$pin" \
        >"$dir/softhsm.log" 2>&1 || fail "softhsm2-util: $(cat "$dir/softhsm.log")"
    put_pin "$pin"
    cat >>"$dir/keyd.conf" <<CONF

token "demo" {
    module = "$(readlink -f /usr/lib/softhsm/libsofthsm2.so)"
    label = "demo"
    pin-file = "$dir/pin"
    paths = { "$dir/tokens" }
    environment = { "SOFTHSM2_CONF=$dir/softhsm2.conf" }
    max-message = 67108864   # SoftHSM takes any; else it is found by trying
    timeout = 3000           # the machine may be busy; else 600
}
CONF
}

put_pin() {
    (umask 077 && printf '%s\n' "$1" >"$dir/pin.new" && mv "$dir/pin.new" "$dir/pin")
}

start() {
    if [ "$keep" = yes ]; then # of a session of its own: this one may end
        setsid "$bin/dime-keyd" -c "$dir/keyd.conf" >"$dir/log" 2>&1 </dev/null &
    else
        "$bin/dime-keyd" -c "$dir/keyd.conf" >"$dir/log" 2>&1 </dev/null &
    fi
    keyd=$!
    wait_until 'the daemon does not start' ctl status
}

# wait_until WHAT COMMAND...   at most 15 s
wait_until() {
    what=$1 until=$(($(now_ms) + 15000))
    shift
    while ! "$@" >/dev/null 2>&1; do
        [ "$(now_ms)" -lt $until ] || fail "$what"
        kill -0 "$keyd" 2>/dev/null || fail 'the daemon has ended'
        sleep 0.02
    done
}

# pids ROLE...   as the daemon tells them
pids() {
    for role; do
        ctl status | awk -v role="$role" '
            $1 == "process" { on = 1 }
            on && $1 == role { print role == "gate" ? $3 : $2 }'
    done
}

# --- the story --------------------------------------------------------------------------

show_processes() {
    ctl status | sed -n '/^process/,$p' | while read -r line; do
        say "$mark" "$line"
        mark=
    done
    roles=$(pids gate vault ledger p11)
    all=$(pids supervisor; echo "$roles")
    [ "$(echo "$all" | wc -w)" = $processes ] || fail "not $processes processes"
    for pid in $all; do
        grep -q '^Seccomp:[[:space:]]*2$' "/proc/$pid/status" &&
            grep -q '^NoNewPrivs:[[:space:]]*1$' "/proc/$pid/status" ||
            fail "process $pid: the kernel knows of no filter"
    done
    for pid in $roles; do
        grep -q '^CapEff:[[:space:]]*0*$' "/proc/$pid/status" ||
            fail "process $pid has capabilities"
    done
    say '' "the kernel says so too: a filter on each, and no capabilities but the supervisor's"
}

# are_there N ROLE...
are_there() {
    n=$1
    shift
    [ "$(pids "$@" | wc -w)" = "$n" ]
}

make_organization() {
    ctl token init --credential-file "$dir/credential" >/dev/null
    made='made in the vault'
    set --
    if [ "$pkcs11" = yes ]; then
        set -- --token demo
        made='made inside'
        say ADOPTED "$(ctl token init --token demo | head -n 1)"
    fi
    ctl key import "$dir/orga.key" --domain $domain --as pok --with-encryption "$@" >/dev/null
    ctl key generate --role sok --domain $domain --permissions users "$@" >/dev/null
    if [ "$pkcs11" = yes ]; then
        mark=KEYS
        ctl key list | awk '{ printf "%-5s %-9s %-6s %s\n", $2, $3, $6, $7 }' |
            while read -r line; do
                say "$mark" "$line"
                mark=
            done
        token_sum=$(sum_token)
    fi
    ctl signet issue-org --domain $domain --field 16=Organization -o "$dir/orga.signet" \
        >/dev/null
    record=$(ctl publish show --domain $domain | head -n 1)
    pok=$(echo "$record" | sed 's/.*pok=\([^ "]*\).*/\1/')
    "$bin/dime" signet verify "$dir/orga.signet" --pok "$pok" >/dev/null ||
        fail 'the organizational signet does not verify'
    say ORG "$domain: primary and encryption key imported, signing key $made"
    say '' "fingerprint $("$bin/dime" signet fingerprint "$dir/orga.signet")"
    say '' "publish     $record"
}

issue_first() {
    issue "$front" "alice@$domain" "$dir/alice.ssr" --field 16=Alice \
        -o "$dir/mail/alice.signet" >/dev/null
    say ISSUED "alice.ssr, made by the DIME authors' own tool -> submission.sock -> alice.signet"
    "$bin/dime" signet show "$dir/mail/alice.signet" |
        sed -n '/^fingerprint full/p;/^ 16 /p;/^254 /p' | more
    held=$(verify alice.signet)
    say '' "verify --org orga.signet --pok $pok: $held"
}

# verify FILE [OPTION]...
verify() {
    file=$1
    shift
    "$bin/dime" signet verify "$dir/mail/$file" --org "$dir/orga.signet" --pok "$pok" \
        "$@" 2>&1 || fail "$file does not verify"
}

refuse_three() {
    "$bin/dime" signet dearmor "$dir/alice.ssr" -o "$dir/flipped.ssr"
    python3 -c 'import sys
f = open(sys.argv[1], "r+b"); f.seek(-1, 2); b = f.read(1)[0]
f.seek(-1, 2); f.write(bytes([b ^ 1]))' "$dir/flipped.ssr"
    chmod 644 "$dir/flipped.ssr"
    mark=REFUSED
    refused 'one bit of alice.ssr flipped' signet-bad-user-signature \
        "$front" "alice@$domain" "$dir/flipped.ssr"
    refused "alice's keys for mallory@$domain" key-reused \
        "$front" "mallory@$domain" "$dir/alice.ssr"
    refused "user $stranger, who is not on the list" 'not for this user' \
        "$stranger" "alice@$domain" "$dir/alice2.ssr"
    # By keyd, that is, and not by the socket's mode.
    grep -q "policy does not know: $stranger" "$dir/log" || fail 'not refused by policy'
}

rotate() {
    issue "$front" "alice@$domain" "$dir/alice2.ssr" --field 16=Alice \
        -o "$dir/mail/alice2.signet" >/dev/null
    say ROTATED "alice2.ssr, with a custody signature by alice's old key; her chain now:"
    ctl signet history "alice@$domain" | more
    held=$(verify alice2.signet --prev "$dir/mail/alice.signet")
    say '' "verify --prev alice.signet: $held"
}

kill_vault() {
    vault=$(pids vault)
    before=$(now_ms)
    kill -9 "$vault"
    wait_until 'the vault does not come back' ctl health
    took=$(($(now_ms) - before))
    [ "$(pids vault)" != "$vault" ] || fail 'the vault was not killed'
    issue "$front" "alice@$domain" "$dir/alice2.ssr" --field 16=Alice \
        -o "$dir/mail/again.signet" >/dev/null
    cmp -s "$dir/mail/alice2.signet" "$dir/mail/again.signet" ||
        fail 'the same request gave another signet'
    say CRASH "kill -9 of the vault: back and unsealed in $took ms; the same request gives the same signet"
    ctl audit verify >"$dir/audit" || fail 'the audit log does not verify'
    counts=$(sed -n 's/^\(records\|epochs\|checkpoints\) */\1 /p' "$dir/audit" | tr '\n' ';' |
        sed 's/;$//;s/;/; /g')
    say '' "audit verify: $(head -n 1 "$dir/audit"); $counts"
}

# --- with a token ----------------------------------------------------------------------

sum_token() {
    (cd "$dir/tokens" && find . -type f | sort | xargs sha256sum) | sha256sum
}

token_is() {
    [ "$(ctl token list | awk '$1 == "demo" { print $2 }')" = "$1" ]
}

# new_request NAME   by a user with new keys
new_request() {
    "$bin/dime" keys new -o "$dir/$1.key" >/dev/null
    "$bin/dime" ssr new --keys "$dir/$1.key" -o "$dir/$1.ssr" >/dev/null
    chmod 644 "$dir/$1.ssr"
}

can_issue() {
    issue "$front" "$1@$domain" "$dir/$1.ssr" -o "$dir/mail/$1.signet"
}

kill_host() {
    new_request bob
    # shellcheck disable=SC2046 # words: one argument a process
    kill -9 $(pids p11 | head -n 1)
    can_issue bob >/dev/null || fail 'a host was killed, and a request failed'
    wait_until 'hosts do not come back' are_there 2 p11
    say KILLED "one of the token's processes, kill -9: bob@$domain has a signet all the same"
}

take_away() {
    new_request carol
    mv "$dir/tokens/softhsm" "$dir/tokens/away"
    began=$(now_ms)
    can_issue carol >/dev/null 2>&1 && fail 'something was signed without the token'
    wait_until 'the token is not away' token_is away
    mark=AWAY
    refused 'the token is pulled out' token-away "$front" "carol@$domain" "$dir/carol.ssr"
    say '' "seen after $(($(now_ms) - began)) ms; what needs no key goes on:" \
        "$(ctl signet history "alice@$domain" | wc -l) lines of history"
    mv "$dir/tokens/away" "$dir/tokens/softhsm"
    began=$(now_ms)
    wait_until 'the token does not come back' can_issue carol
    say BACK "serving again after $(($(now_ms) - began)) ms, without a restart"
}

wrong_pin() {
    new_request dave
    put_pin 0000
    # shellcheck disable=SC2046 # words: one argument a process
    kill -9 $(pids p11)
    wait_until 'the wrong PIN is not noticed' token_is refused
    mark='PIN'
    ctl token doctor >"$dir/doctor" && fail 'the doctor finds nothing'
    sed -n 1,2p "$dir/doctor" | while read -r line; do
        say "$mark" "$line"
        mark=
    done
    [ "$(grep -c 'a PIN that was never tried' "$dir/log")" = 2 ] ||
        fail 'a wrong PIN was tried more than once'
    put_pin "$pin"
    began=$(now_ms)
    wait_until 'the right PIN is not noticed' can_issue dave
    say '' "tried once; after the file is mended, in use in $(($(now_ms) - began)) ms"
    [ "$(sum_token)" = "$token_sum" ] || fail "the token's files have changed"
    say '' "the token's files are those of before, octet for octet"
}

search_memory() {
    set -- "$dir/orga.key" "$dir/credential"
    python3 provisioning/memory_search.py --control "$@" >"$dir/control" ||
        fail "the search does not find what is there: $(cat "$dir/control")"
    status=0
    # shellcheck disable=SC2046 # words: one argument a process
    python3 provisioning/memory_search.py "$@" -- $(pids gate ledger) >"$dir/found" || status=$?
    case $status in
    0)
        [ "$(wc -l <"$dir/found")" = 3 ] || fail 'not all gates and the ledger were searched'
        octets=$(awk '{ n += $2 } END { print n }' "$dir/found")
        say MEMORY "of gates and ledger, $octets octets searched as root for keys and credential: nothing"
        ;;
    1) cat "$dir/found" && fail 'secrets outside of the vault' ;;
    *) # a container's root, often
        say MEMORY 'not searched: this root may not read the memory of other users'"'"' processes'
        return
        ;;
    esac
    say '' "the same search of a process that was given them: $(sed 's/control: //;s/ forms .*/ forms found/' \
        "$dir/control")"
    python3 provisioning/memory_search.py "$@" -- "$(pids vault)" >"$dir/found" || true
    case $(ctl status | awk '$1 == "hidden-memory" { print $2 }') in
    1)
        rest=$(sed 's/.*read, \([0-9]*\) hidden: \(.*\)/\1 octets hidden even from root, in the rest \2/' \
            "$dir/found")
        say '' "of the vault: $rest"
        ;;
    *) say '' 'of the vault: this kernel hides no memory from root, who could read the keys there' ;;
    esac
}

say_next() {
    shown=${build_dir#"$(pwd)/"}/bin
    if [ "$keep" = yes ]; then
        say RUNNING "in $dir; as root, try"
        {
            echo "B=$bin; S='--socket $run/admin/admin.sock'; M=$dir/mail"
            echo '$B/keydctl status $S; $B/keydctl key list $S; $B/keydctl audit tail $S'
            echo '$B/dime keys new -o $M/bob.key; $B/dime ssr new --keys $M/bob.key -o $M/bob.ssr'
            echo "setpriv --reuid $front --regid $group --clear-groups \$B/keydctl \\"
            echo "    signet issue bob@$domain \$M/bob.ssr -o \$M/bob.signet --socket $run/submission.sock"
            echo "\$B/dime signet verify \$M/bob.signet --org $dir/orga.signet --pok $pok"
        } | more
        say STOP "kill $keyd; sleep 1; rm -rf $dir"
        return
    fi
    again=--keep
    [ "$pkcs11" = no ] || again='--pkcs11 --keep'
    say NEXT "sh provisioning/quickstart.sh $again   leaves it running for you"
    {
        echo "$shown/dime signet show $vectors/alice.signet   looks at any signet"
        echo "sh tests/run.sh --quick   what it is tested with; keyd/README.md   why it is like this"
    } | more
    say COMMANDS 'keydctl token init, key import, key generate, signet issue-org, publish show,'
    say '' 'signet issue, signet history, health, audit verify; dime signet show, verify'
}

# Daemons, front-ends and intruder are the program's own, and end with it.
if [ "$attack" = yes ]; then
    for parent in "${TMPDIR:-/tmp}" /var/tmp; do
        dir=$(mktemp -d "$parent/keyd-quickstart.XXXXXX") && break
    done
    [ -n "$dir" ] || fail 'no directory for the daemons (TMPDIR?)'
    chmod 711 "$dir"
    TMPDIR=$dir KEYD_TEST_SCALE=1 "$build_dir/$attacker"
    say NEXT 'tests/captured-frontend/README.md   what this shows, and what it does not'
    exit
fi

first=$(free_ids) || fail 'no free user ids from 64200 on'
group=$first front=$((first + 3)) stranger=$((first + 4)) p11=$((first + 5))
processes=5
make_dir
configure
if [ "$pkcs11" = yes ]; then
    make_token
    processes=7
fi
start
echo "keyd in $dir"
mark=RUNNING
[ "$pkcs11" = no ] || wait_until 'the hosts do not start' are_there 2 p11
show_processes
make_organization
issue_first
refuse_three
rotate
kill_vault
if [ "$pkcs11" = yes ]; then
    kill_host
    take_away
    wrong_pin
fi
search_memory
say_next
if [ "$keep" = yes ]; then
    keyd='' dir=''
fi
