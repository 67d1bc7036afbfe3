#!/usr/bin/env bash
# Holds the units of systemd to systemd: what they say is understood, the pages they name are there, and they are closed.
#
#   scripts/check-units.sh FOLDER     the folder of sluicegate and sluicegen

. "$(dirname "$0")/lib.sh"
cd "$(dirname "$0")/.."

# Exposure as `systemd-analyze security` counts it, times ten: below 2.0.
MAX_EXPOSURE=19
[ $# -eq 1 ] || fail "which programs? give the folder of sluicegate and sluicegen"
programs=$(cd "$1" && pwd)

if ! command -v systemd-analyze >/dev/null; then
    say "no systemd-analyze here (package systemd): the units are NOT checked"
    exit 0
fi

work=$(mktemp -d)
clean_up() { rm -rf "$work"; }
mkdir "$work/man" "$work/man/man1"

# In the place of installed programs those that were built, which also say what stands in the pages that a unit names.
for program in sluicegate sluicegen; do
    "$programs/$program" man-pages "$work/man/man1"
    sed "s|/usr/bin/|$programs/|" "service/packaging/$program.service" >"$work/$program.service"
done

understood() {
    local said man=()
    if ! command -v man >/dev/null; then
        say "no man here (package man-db): whether the pages that units name are there is NOT checked"
        man=(--man=no)
    fi
    # The sentences of others' units on this machine are not ours.
    said=$(MANPATH="$work/man" systemd-analyze verify "${man[@]}" "$@" 2>&1) || fail "systemd-analyze verify: $said"
    said=$(grep -F "$work" <<<"$said" || true)
    [ -z "$said" ] || fail "systemd-analyze verify: $said"
}

closed() {
    local unit said
    for unit in "$@"; do
        said=$(systemd-analyze security --offline=true --threshold="$MAX_EXPOSURE" --no-pager "$unit" 2>&1) ||
            fail "$unit is too open: $said"
        say "$(tail -n 1 <<<"$said" | sed 's/^[^O]*//')"
    done
}

understood "$work/sluicegate.service" "$work/sluicegen.service"
closed "$work/sluicegate.service" "$work/sluicegen.service"
