#!/usr/bin/env bash
# How long does streaming stop while retention drops a large partition? Prints the longest times without a commit
# before and during the drop, and how long the database took for it.
#
#   scripts/measure-drop.sh [ROWS] [DATABASE SERVER]     5000000 rows and MariaDB, unless told otherwise
#   PROFILE=debug scripts/measure-drop.sh 1000000 "$(command -v mysqld)"

. "$(dirname "$0")/lib.sh"
cd "$(dirname "$0")/.."

rows=${1:-5000000}
server=${2:-/usr/sbin/mariadbd}
profile=${PROFILE:-release}
# Commits come often enough to see a stop between them.
batch_rows=${BATCH_ROWS:-50000}
need_cargo
if [ "$profile" = release ]; then
    step "build" cargo build --quiet --release --bins
else
    step "build" cargo build --quiet --bins
fi
bin="${CARGO_TARGET_DIR:-target}/$profile"
work=$(mktemp -d)
service=
generator=

stop_service() {
    [ -z "$service" ] || { kill "$service" && wait "$service" || true; } 2>/dev/null
    service=
}

clean_up() {
    status=$?
    [ -z "$generator" ] || kill "$generator" 2>/dev/null || true
    stop_service
    rm -rf "$work"
    (exit "$status")
    lib_explain_exit
}
trap clean_up EXIT

start_service() {
    rm -f "$work/ready.json"
    "$bin/sluicegate" serve --embedded-db="$work/data" --embedded-db-bin "$server" --ready-file "$work/ready.json" \
        --grpc-addr 127.0.0.1:0 --rest-addr 127.0.0.1:0 --partitions-interval-s 2 "$@" >>"$work/log" 2>&1 &
    service=$!
    until [ -s "$work/ready.json" ]; do
        kill -0 "$service" 2>/dev/null || { cat "$work/log" >&2; fail "the service ended"; }
        sleep 0.1
    done
    target="http://$(jq -r .grpc_addr "$work/ready.json")"
    rest="http://$(jq -r .rest_addr "$work/ready.json")"
}

# Two hours ago, at ten past: five million readings of the generator take 25 seconds of their own time.
hour_s=$(($(date +%s) / 3600 * 3600 - 7200))
fill() {
    start_service --partitions-enabled false
    "$bin/sluicegen" run --target "$target" --count "$rows" --start-time "$(((hour_s + 600) * 1000))" --json >"$work/fill.json"
    stop_service
}
step "loading $rows readings into the catch-all" fill

home() {
    start_service --partitions-width 1h
    stop_service
}
step "giving them a partition" home

# The partition ends a full hour after hour_s. It outlives the retention some seconds from now.
now_s=$(date +%s)
start_service --partitions-width 1h --partitions-retention "$((now_s - hour_s - 3600 + 20))s" \
    --ingest-max-batch-rows "$batch_rows"
"$bin/sluicegen" run --target "$target" --duration 40s --json >"$work/run.json" 2>/dev/null &
generator=$!
say "streaming at full rate for 40 s"
while kill -0 "$generator" 2>/dev/null; do
    committed=$(curl -s "$rest/readyz" | jq -r .books.committed)
    echo "$(date +%s%N) $committed" >>"$work/progress"
    sleep 0.02
done
wait "$generator"
generator=

grep -E 'partitions? dropped' "$work/log" | sed 's/\x1b\[[0-9;]*m//g' >"$work/dropped" || fail "nothing was dropped"
cat "$work/dropped"
dropped_at=$(date -d "$(cut -d' ' -f1 "$work/dropped" | tail -n 1)" +%s%N)
took_ms=$(grep -o 'took_ms=[0-9]*' "$work/dropped" | tail -n 1 | cut -d= -f2)
awk -v end="$dropped_at" -v took_ms="$took_ms" '
    NR == 1 { last = $1; committed = $2; next }
    $2 != committed {
        gap = ($1 - last) / 1e6
        # Around the drop: the time from its beginning to half a second after its end lies in the gap or touches it.
        near = ($1 >= end - (took_ms + 100) * 1e6 && last <= end + 5e8)
        if (started && near && gap > during) during = gap
        if (started && !near && gap > apart) apart = gap
        last = $1; committed = $2; started = 1
    }
    END { printf "longest time without a commit: %d ms around the drop, %d ms otherwise\n", during, apart }
' "$work/progress"
jq -r '"rate: \(.rows_per_s | floor) rows/s; slowest acknowledgement: \(.ack_ms.max) ms"' "$work/run.json"
