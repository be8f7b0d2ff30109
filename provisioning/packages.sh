# Functions around packages.txt; sourced from the top of the source tree:
#
#   . provisioning/packages.sh
#   keyd_packages_install build test
#
# Installs only what is missing, as root or through sudo. No service that a package
# brings is started by it, nor at the next start of the machine.

keyd_packages_file=provisioning/packages.txt

# The names of the sections given.
keyd_packages_list() {
    for section; do
        grep -qx "\[$section\]" "$keyd_packages_file" || {
            echo "packages: no section $section in $keyd_packages_file" >&2
            return 1
        }
    done
    for section; do
        sed -n "/^\[$section\]\$/,/^\[/{/^[a-z0-9]/p;}" "$keyd_packages_file"
    done | sort -u
}

keyd_packages_missing() {
    for package in $(keyd_packages_list "$@"); do
        state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) || state=none
        [ "$state" = installed ] || echo "$package"
    done
}

keyd_packages_install() {
    keyd_packages_list "$@" >/dev/null || return 1
    if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
        echo "packages: this is not Debian; install what $keyd_packages_file names" >&2
        return 1
    fi
    missing=$(keyd_packages_missing "$@" | tr '\n' ' ')
    [ -n "$missing" ] || return 0
    if [ "$(id -u)" = 0 ]; then
        as_root=''
    elif command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
        as_root=sudo
    else
        echo "packages: missing: $missing" >&2
        echo 'packages: neither root nor able to use sudo; as root run:' >&2
        echo "  apt-get install --no-install-recommends $missing" >&2
        return 1
    fi
    echo "installing $missing"
    # shellcheck disable=SC2086 # words: one argument a package
    $as_root sh -s -- $missing <<'ROOT'
set -eu
policy=/usr/sbin/policy-rc.d
mark='# Put here by keyd while packages are installed: no service starts by itself.'
# One that a killed run has left behind; anybody else's stays as it is.
if [ -f "$policy" ] && grep -qxF "$mark" "$policy"; then
    rm -f "$policy"
fi
if [ ! -e "$policy" ] && [ ! -L "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 1' HUP INT TERM
    printf '#!/bin/sh\n%s\nexit 101\n' "$mark" >"$policy"
    chmod 755 "$policy"
fi
# The units that something starts: one that comes with what is installed goes again.
wanted() { find /etc/systemd/system/*.wants -type l 2>/dev/null | sort || :; }
before=$(wanted)
export DEBIAN_FRONTEND=noninteractive
apt='apt-get -qq -o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0'
# Lists that could not be refreshed may still do; the installation says so if not.
$apt update </dev/null || echo 'packages: apt-get update failed' >&2
$apt install -y --no-install-recommends "$@" </dev/null
wanted | while read -r link; do
    ! printf '%s\n' "$before" | grep -qxF "$link" || continue
    case $link in
    *.service) systemctl disable "${link##*/}" </dev/null >/dev/null 2>&1 || rm -f "$link" ;;
    esac
done
ROOT
}
