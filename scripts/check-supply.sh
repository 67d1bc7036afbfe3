#!/usr/bin/env bash
# Holds the dependencies to deny.toml (licences, bans, sources), and to the advisories of RustSec where there is a copy of them:
#
#   SLUICEGATE_ADVISORY_DB=FOLDER scripts/check-supply.sh     FOLDER has the folder crates/ of the advisory database
#
# Builds cargo-deny and, where it is needed, cargo-audit the first time: one and a half, and three, minutes of a core.

. "$(dirname "$0")/lib.sh"
cd "$(dirname "$0")/.."

CARGO_DENY=0.20.2
CARGO_AUDIT=0.22.2

need_packages build-essential ca-certificates
need_cargo

# install NAME VERSION: a program of cargo, without optimisation and without what it can do beyond this. It works for seconds.
install() {
    # In a folder of its own, not where the project's own parts are built.
    env -u CARGO_TARGET_DIR CARGO_PROFILE_DEV_DEBUG=0 CARGO_PROFILE_DEV_OPT_LEVEL=0 CARGO_PROFILE_DEV_INCREMENTAL=false \
        cargo install --quiet --locked --debug --no-default-features --root "$SLUICEGATE_CACHE/$1-$2" --version "=$2" "$1"
}

# need NAME VERSION: it is there, and is found by cargo.
need() {
    local bin="$SLUICEGATE_CACHE/$1-$2/bin"
    [ -x "$bin/$1" ] || step "building $1 $2" install "$1" "$2"
    PATH="$bin:$PATH"
}

need cargo-deny "$CARGO_DENY"
step "licences, bans, sources" cargo deny --locked check --hide-inclusion-graph bans licenses sources

if [ -n "${SLUICEGATE_ADVISORY_DB:-}" ]; then
    need cargo-audit "$CARGO_AUDIT"
    step "advisories" cargo audit --db "$SLUICEGATE_ADVISORY_DB" --no-fetch
else
    say "SLUICEGATE_ADVISORY_DB is not set: the dependencies are NOT held to known advisories"
fi
