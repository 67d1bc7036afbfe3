#!/usr/bin/env bash
# Tries out the packages in a fresh Debian with a systemd of its own: installs them as docs/packages.md says, sends readings,
# breaks what can break, upgrades, removes and purges. Needs root, and some 1.5 GB below /var/tmp.
#
#   scripts/test-package.sh [FOLDER]     FOLDER has the packages; without it they are made

. "$(dirname "$0")/lib.sh"
cd "$(dirname "$0")/.."
. scripts/package-test/root.sh
. scripts/package-test/service.sh
. scripts/package-test/life.sh

[ "$(id -u)" -eq 0 ] || fail "this needs root: it boots a system in namespaces"
need_packages debootstrap util-linux iproute2 binutils

work=$(mktemp -d -p /var/tmp sluicegate-package.XXXXXX)
root=$work/root
clean_up() {
    [ "$1" -eq 0 ] || show_trouble
    shut_down
    rm -rf "$work"
}

packages=${1:-}
if [ -z "$packages" ]; then
    packages=$work/packages
    scripts/package.sh "$packages"
fi
packages=$(cd "$packages" && pwd)

step "a fresh Debian" make_root
step "packages are what they should be" check_packages
step "systemd" boot
step "the newcomer's path" newcomer
step "what was installed" check_installed
step "units" check_units
step "a database that is away" check_absent_database
step "a restart under load" check_restart
step "the watchdog" check_watchdog
step "wrong settings" check_wrong_settings
step "a port that is taken" check_taken_port
step "the user at the socket" check_socket_user
step "an embedded database" check_embedded
step "the generator" check_generator
step "an upgrade" check_upgrade
step "removal and purge" check_removal
say "the packages passed"
