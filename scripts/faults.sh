#!/usr/bin/env bash
# Breaks everything around the service, and shows what held: the real programs, real databases, and the generator's
# journal as the judge. Writes bench-results/faults.json and bench-results/FAULTS.md.
#
#   scripts/faults.sh                       every case on both engines, release build, full counts
#   scripts/faults.sh --quick               a few faults of each kind, debug build, into target/faults
#   scripts/faults.sh --case NAME           one case (may be given more than once); --list names them
#   scripts/faults.sh --engine mariadb      one engine (mariadb or mysql)
#   scripts/faults.sh --percent 10          a share of the full counts
#   scripts/faults.sh --soak-minutes 5      a shorter soak
#   scripts/faults.sh --out DIR             where the results go

. "$(dirname "$0")/lib.sh"
cd "$(dirname "$0")/.."

build=release
out=bench-results
for argument in "$@"; do
    [ "$argument" = --quick ] && build=debug && out=target/faults
done

need_packages build-essential curl jq ca-certificates faketime
need_mariadb
need_cargo
step "MySQL" scripts/install-mysql.sh

build_programs() {
    if [ "$build" = debug ]; then
        # As the tests have them: nothing is built twice.
        cargo build --quiet --workspace --all-features --bins --example faults
        cp target/debug/sluicegate target/faults/sluicegate-failpoints
        return
    fi
    # The negative control needs a program that can be told to ignore the ledger; all other cases do not have that.
    cargo build --quiet --release --package sluicegate --features failpoints --bin sluicegate
    cp target/release/sluicegate target/faults/sluicegate-failpoints
    cargo build --quiet --release --bins --example faults
}
mkdir -p target/faults
step "building" build_programs
exec "target/$build/examples/faults" --failpoints-program target/faults/sluicegate-failpoints --out "$out" "$@"
