#!/bin/sh
# The systemd unit: its exposure, the settings that security.md asks for, and the users
# and folders that go with it. Usage: unit.sh SOURCE. Exit 77: no systemd here.
set -eu

source=$1
unit=$source/provisioning/systemd/dime-keyd.service
sysusers=$source/provisioning/systemd/dime-keyd.sysusers
tmpfiles=$source/provisioning/systemd/dime-keyd.tmpfiles
keys=$source/keyd/conf/include/keyd/conf/conf_keys.def
failed=0

fail()
{
    echo "unit.sh: $*" >&2
    failed=1
}

# Once, and nothing that takes it back.
has()
{
    [ "$(grep -cxF "$1" "$unit")" = 1 ] || fail "the unit lacks $1"
    [ "$(grep -c "^${1%%=*}=" "$unit")" = 1 ] || fail "${1%%=*} is there twice"
}

for setting in NoNewPrivileges=yes ProtectSystem=strict PrivateNetwork=yes \
    ProtectProc=invisible ProcSubset=pid RestrictAddressFamilies=AF_UNIX \
    RestrictNamespaces=yes MemoryDenyWriteExecute=yes SystemCallArchitectures=native \
    MemorySwapMax=0 LimitCORE=0 LimitMEMLOCK=64M IPAddressDeny=any UMask=0077 \
    AmbientCapabilities= ProtectHome=yes PrivateDevices=yes
do
    has "$setting"
done
grep -q '^TasksMax=[0-9]' "$unit" || fail "the unit lacks TasksMax"
grep -q '^MemoryMax=[0-9]' "$unit" || fail "the unit lacks MemoryMax"
grep -q '^LimitNOFILE=[0-9]' "$unit" || fail "the unit lacks LimitNOFILE"
# It would show every client as uid 65534.
! grep -q '^PrivateUsers=' "$unit" || fail "PrivateUsers"
# A forbidden call kills; an error would be a loosened filter.
! grep -q '^SystemCallErrorNumber=' "$unit" || fail "SystemCallErrorNumber"
for capability in SYS_ADMIN SYS_PTRACE NET_ADMIN DAC_OVERRIDE SYS_RAWIO FOWNER
do
    ! grep '^CapabilityBoundingSet=' "$unit" | grep -q "CAP_$capability" ||
        fail "CAP_$capability"
done

# Reading the configuration anew, and sockets that outlive the service.
[ "$(grep -c '^ExecReload=/bin/kill -HUP \$MAINPID$' "$unit")" = 1 ] || fail "ExecReload"
for class in submission mta milter
do
    socket=$source/provisioning/systemd/dime-keyd-$class.socket
    for setting in "ListenStream=/run/dime-keyd/$class.sock" SocketMode=0660 \
        SocketUser=root SocketGroup=dime-keyd Service=dime-keyd.service \
        WantedBy=sockets.target
    do
        grep -qxF "$setting" "$socket" || fail "dime-keyd-$class.socket lacks $setting"
    done
    [ "$(grep -c '^ListenStream=' "$socket")" = 1 ] || fail "$class: not one socket"
done
# Whom the remote listener lets through is a list, not everybody.
socket=$source/provisioning/systemd/dime-keyd-tls.socket
for setting in IPAddressDeny=any Service=dime-keyd.service BindIPv6Only=ipv6-only
do
    grep -qxF "$setting" "$socket" || fail "dime-keyd-tls.socket lacks $setting"
done

# The accounts are those that the configuration takes when it says nothing.
for name in $(sed -n 's/.*"\(user-gate\|user-vault\|user-ledger\|user-p11\)", [A-Z]*_USER, "\([^"]*\)".*/\2/p' "$keys")
do
    grep -q "^u $name " "$sysusers" || fail "sysusers lacks user $name"
done
group=$(sed -n 's/.*"group", ROLE_GROUP, "\([^"]*\)".*/\1/p' "$keys")
grep -q "^g $group " "$sysusers" || fail "sysusers lacks group $group"
[ "$(grep -c '^u ' "$sysusers")" = 4 ] || fail "sysusers: not four users"
# A module that is let in at the sockets could be a client.
! grep -q "^m dime-keyd-p11 $group" "$sysusers" || fail "dime-keyd-p11 is in $group"

command -v systemd-analyze >/dev/null || {
    [ "$failed" = 0 ] || exit 1
    echo "skipped: there is no systemd-analyze here" >&2
    exit 77
}
systemd-analyze security --offline=true --threshold=15 --no-pager "$unit" \
    >/dev/null || fail "systemd-analyze security: exposure above 1.5"

# What is not understood is ignored by systemd, with a warning. That programs and manual
# pages are not installed here is no fault of the unit.
warnings=$(systemd-analyze verify --man=no "$unit" "${unit%.service}"-*.socket 2>&1 |
    grep -F dime-keyd | grep -v 'is not executable' || true)
[ -z "$warnings" ] || fail "systemd-analyze verify: $warnings"
for name in softhsm connector
do
    place=$(mktemp -d)
    mkdir "$place/dime-keyd.service.d"
    cp "$unit" "$place"
    cp "$source/provisioning/systemd/$name.conf" "$place/dime-keyd.service.d"
    warnings=$(systemd-analyze verify --man=no "$place/dime-keyd.service" 2>&1 |
        grep -F "$name.conf" || true)
    rm -r "$place"
    [ -z "$warnings" ] || fail "systemd-analyze verify: $warnings"
done

if [ "$(id -u)" = 0 ] && command -v systemd-sysusers >/dev/null
then
    root=$(mktemp -d)
    trap 'rm -rf "$root"' EXIT
    mkdir "$root/etc"
    echo 'root:x:0:0:root:/:/bin/sh' >"$root/etc/passwd"
    echo 'root:x:0:' >"$root/etc/group"
    systemd-sysusers --root="$root" "$sysusers" 2>/dev/null || fail "systemd-sysusers"
    [ "$(cut -d: -f3 "$root/etc/passwd" | sort -u | wc -l)" = 5 ] ||
        fail "the roles' uids do not differ"
    [ "$(grep -c ':/usr/sbin/nologin$' "$root/etc/passwd")" = 4 ] ||
        fail "a role can log in"
    systemd-tmpfiles --root="$root" --create "$tmpfiles" 2>/dev/null ||
        fail "systemd-tmpfiles"
    gid=$(sed -n "s/^$group:[^:]*:\([0-9]*\):.*/\1/p" "$root/etc/group")
    ledger=$(sed -n 's/^dime-keyd-ledger:[^:]*:\([0-9]*\):.*/\1/p' "$root/etc/passwd")
    for want in "run/dime-keyd 750 0 $gid" "run/dime-keyd/admin 700 0 0" \
        "etc/dime-keyd 755 0 0"
    do
        got=$(stat -c '%a %u %g' "$root/${want%% *}")
        [ "$got" = "${want#* }" ] || fail "$want: $got"
    done
    got=$(stat -c '%a %u' "$root/var/lib/dime-keyd")
    [ "$got" = "700 $ledger" ] || fail "var/lib/dime-keyd: $got"
fi
exit "$failed"
