#!/usr/bin/env bash
# Breaks everything around the service, and shows what held: the real programs, real databases, and the generator's
# journal as the judge. Writes bench-results/faults.json and bench-results/FAULTS.md.
#
#   scripts/faults.sh                       every case on both engines, release build, full counts
#   scripts/faults.sh --quick               a few faults of each kind, debug build, into target/faults
#   scripts/faults.sh --case NAME           one case (may be given more than once); --list names them
#   scripts/faults.sh --engine mariadb      one engine (mariadb or mysql)
#   scripts/faults.sh --layout series       on that layout; results go into faults-series.json and FAULTS-series.md
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
[ "$build" = debug ] || need_packages slowhttptest
need_mariadb
if need_kafka; then
    export SLUICEGATE_TEST_KAFKA=required SLUICEGATE_TEST_KAFKA_DIR="$SLUICEGATE_CACHE/kafka"
fi
if need_rabbitmq; then
    export SLUICEGATE_TEST_RABBITMQ=required
fi
if need_mosquitto; then
    export SLUICEGATE_TEST_MOSQUITTO=required
fi
need_cargo
step "MySQL" scripts/install-mysql.sh

build_programs() {
    if [ "$build" = debug ]; then
        # As the tests have them: nothing is built twice.
        cargo build --quiet --workspace --all-features --bins --example faults
        cp "$TARGET"/debug/sluicegate target/faults/sluicegate-failpoints
        return
    fi
    # The negative control needs a program that can be told to ignore the ledger; all other cases do not have that.
    cargo build --quiet --release --package sluicegate --features failpoints --bin sluicegate
    cp "$TARGET"/release/sluicegate target/faults/sluicegate-failpoints
    cargo build --quiet --release --bins --example faults
}
mkdir -p target/faults
step "building" build_programs
# Journals and logs of what failed outlive the memory that they were in.
clean_up() {
    [ "$work" != target/faults/work ] || return
    if [ "$1" -ne 0 ] && [ -d "$work" ]; then
        rm -rf target/faults/failed
        (cd "$work" && find . \( -name '*.log' -o -name '*.journal' \) -size -20M -print0 | tar -cf - --null -T -) |
            { mkdir -p target/faults/failed && tar -xf - -C target/faults/failed; }
        say "logs and journals: target/faults/failed"
    fi
    rm -rf "$work"
}
# The quick form waits for no disk, where there is memory enough.
work=target/faults/work
if [ "$build" = debug ] && [ "$(df --output=avail -k /dev/shm 2>/dev/null | tail -n 1)" -ge 3000000 ] 2>/dev/null; then
    work=/dev/shm/sluicegate-faults-$$
fi
"$TARGET/$build/examples/faults" --failpoints-program target/faults/sluicegate-failpoints --out "$out" \
    --work "$work" "$@"
