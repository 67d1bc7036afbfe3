#!/usr/bin/env bash
# Does the generator keep its promises about time on this machine? Measures it against a service with a database of its
# own, and ends with status 1 when a figure is out of bounds:
#
#   - at 200,000 readings per second over 10 s, the achieved rate is within 1 % of it, and the first 100 ms bring no burst
#   - at full rate in columns, it costs at most 0.5 microseconds of CPU per reading
#   - a service that is stopped for 2 s (SIGSTOP) shows in p99.9 of an open-loop run, in the modes
#     stream-acked, batch and unary
#
#   scripts/measure-generator.sh [DATABASE SERVER]      MariaDB, unless told otherwise
#   RATE=50000 scripts/measure-generator.sh             another rate, where the machine does not keep up with 200,000
#   PROFILE=debug scripts/measure-generator.sh          without an optimised build: the CPU figure then says little

. "$(dirname "$0")/lib.sh"
cd "$(dirname "$0")/.."

server=${1:-/usr/sbin/mariadbd}
rate=${RATE:-200000}
profile=${PROFILE:-release}
need_packages build-essential jq
[ "$#" -gt 0 ] || need_mariadb
need_cargo
if [ "$profile" = release ]; then
    step "build" cargo build --quiet --release --bins
else
    step "build" cargo build --quiet --bins
fi
bin="$TARGET/$profile"
work=$(mktemp -d)
service=
failures=0

clean_up() {
    if [ -n "$service" ]; then
        kill -CONT "$service" 2>/dev/null
        { kill "$service" && wait "$service"; } 2>/dev/null
    fi
    rm -rf "$work"
}

"$bin/sluicegate" serve --embedded-db="$work/data" --embedded-db-bin "$server" --ready-file "$work/ready.json" \
    --grpc-addr 127.0.0.1:0 --rest-addr 127.0.0.1:0 >"$work/log" 2>&1 &
service=$!
until [ -s "$work/ready.json" ]; do
    kill -0 "$service" 2>/dev/null || { cat "$work/log" >&2; fail "the service ended"; }
    sleep 0.1
done
target="http://$(jq -r .grpc_addr "$work/ready.json")"

# run NAME FLAGS...: a run whose report is kept in NAME.json.
run() {
    local name=$1
    shift
    "$bin/sluicegen" run --target "$target" --json "$@" >"$work/$name.json" 2>"$work/$name.err" ||
        { cat "$work/$name.err" "$work/$name.json" >&2; fail "the run '$name' failed"; }
}

# check NAME FIGURE CONDITION TEXT: prints the figure, and whether the jq condition holds of it.
check() {
    local value verdict=ok
    value=$(jq "$2" "$work/$1.json")
    if ! jq --exit-status "$2 | $3" "$work/$1.json" >/dev/null; then
        verdict="OUT OF BOUNDS"
        failures=$((failures + 1))
    fi
    printf '%-64s %12.4f   %s\n' "$4" "$value" "$verdict"
}

run warm-up --count 500000
run rate --rate "$rate" --duration 10s --connections 2
run start --rate "$rate" --duration 100ms
run full --mode stream --count 4000000 --connections 2
# What the last run left for the database to write is not to show in the latencies.
sleep 3
for mode in stream-acked batch unary; do
    # The rate is one that a stopped service is caught up with soon.
    "$bin/sluicegen" run --target "$target" --json --mode "$mode" --rate 500 --duration 6s --batch-size 10 \
        >"$work/$mode.json" 2>"$work/$mode.err" &
    generator=$!
    sleep 2
    kill -STOP "$service"
    sleep 2
    kill -CONT "$service"
    wait "$generator" || { cat "$work/$mode.err" "$work/$mode.json" >&2; fail "the run '$mode' failed"; }
done

check rate '.sent_per_s / .target_per_s' '. >= 0.99 and . <= 1.01' "achieved / target, $rate per second over 10 s"
check start ".sent / ($rate * 0.1)" '. <= 1.01' "readings of the first 100 ms / those that were due"
check full '.rows_per_s' '. > 0' "readings per second at full rate, columns"
check full '.cpu_us_per_reading' '. <= 0.5' "generator CPU at full rate, columns, us per reading (<= 0.5)"
for mode in stream-acked batch unary; do
    check "$mode" '.ack_ms.p999' '. >= 1900 and . <= 4000' "p99.9 with a stop of 2 s, $mode, ms (1900 to 4000)"
    check "$mode" '.sent / 3000' '. >= 0.99 and . <= 1.01' "readings sent / those that were due, $mode"
done
if [ "$failures" -gt 0 ]; then
    fail "$failures figures are out of bounds"
fi
say "all figures are within bounds"
