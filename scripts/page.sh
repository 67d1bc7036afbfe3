#!/usr/bin/env bash
# Builds the pages of both programs into service/page/dist, from which cargo embeds them. It takes npm and some seconds.
#
#   scripts/page.sh             fails where there is no npm
#   scripts/page.sh --if-npm    says so, and leaves things as they are: the programs then have pages that say what is missing

. "$(dirname "$0")/lib.sh"
cd "$(dirname "$0")/../service/page"

optional=
case "${1:-}" in
    "") ;;
    --if-npm) optional=1 ;;
    *) fail "unknown option $1: the only one is --if-npm" ;;
esac

if ! need_npm; then
    [ -n "$optional" ] || fail "no npm here, and no package of it: install Node.js 18 or later with npm"
    say "no npm here, and no package of it: the programs have NO pages, but for a few lines that say so"
    exit 0
fi

# What is installed is what the lock file names, byte for byte; no script of a package is run.
install() {
    [ node_modules/.package-lock.json -nt package-lock.json ] || npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
}
step "packages of npm" install
step "pages" npm run --silent build
