#!/usr/bin/env bash
# The main job from nothing: installs what is missing, builds, starts the service with a private database, replays a
# weather record, streams 1,000,000 generated readings, checks the books and prints a summary.
#
#   scripts/demo.sh          leaves nothing behind but the build
#   scripts/demo.sh --keep   leaves the service running, for a look around

. "$(dirname "$0")/lib.sh"
cd "$(dirname "$0")/.."

keep=
case "${1:-}" in
    "") ;;
    --keep) keep=1 ;;
    *) fail "unknown option $1: the only one is --keep" ;;
esac

GENERATED=1000000
SAMPLE=generator/data/seattle-weather-hourly-normals.csv

need_packages build-essential curl jq ca-certificates bsdextrautils
need_mariadb
need_cargo

# Cargo draws its own progress on a terminal; elsewhere a line comes every ten seconds.
build() {
    if [ -t 2 ]; then
        cargo build --release
    else
        cargo build --release 2>&1 | tell_of_build
    fi
}
tell_of_build() {
    local line compiled=0 told=0 current="" told_s=$SECONDS
    while true; do
        if IFS= read -r -t 10 line; then
            case "$line" in
                *Compiling*)
                    compiled=$((compiled + 1))
                    read -r _ current _ <<<"$line"
                    ;;
                *Finished* | *Downloading* | *Downloaded* | *Updating* | *Locking* | *Blocking* | "") ;;
                *) printf '%s\n' "$line" >&2 ;;
            esac
        elif [ $? -le 128 ]; then
            return 0 # no more lines
        fi
        if ((SECONDS - told_s >= 10)); then
            if [ "$compiled" -eq "$told" ]; then
                say "  $compiled crates begun, and no new one: Sluicegate's own are the largest, and take minutes"
            else
                say "  $compiled crates begun, the last one $current"
            fi
            told=$compiled told_s=$SECONDS
        fi
    done
}
step "the page" scripts/page.sh --if-npm
step "building (a cold build takes some minutes)" build

work=$(mktemp -d)
service=
clean_up() {
    local status=$1
    if [ -n "$service" ] && { [ -z "$keep" ] || [ "$status" -ne 0 ]; }; then
        kill "$service" 2>/dev/null && wait "$service" 2>/dev/null || true
    fi
    if [ -z "$keep" ] || [ "$status" -ne 0 ]; then
        [ "$status" -eq 0 ] || { [ -f "$work/service.log" ] && tail -n 20 "$work/service.log" >&2; }
        rm -rf "$work"
    fi
}

start_service() {
    "$TARGET"/release/sluicegate serve --embedded-db="$work/data" --grpc-addr 127.0.0.1:0 --rest-addr 127.0.0.1:0 \
        --ready-file "$work/ready.json" >"$work/service.log" 2>&1 &
    service=$!
    local waited
    for ((waited = 0; waited < 600; waited++)); do
        [ -f "$work/ready.json" ] && break
        kill -0 "$service" 2>/dev/null || fail "the service did not start"
        sleep 0.2
    done
    grpc=http://$(jq -r .grpc_addr "$work/ready.json")
    rest=http://$(jq -r .rest_addr "$work/ready.json")
}
step "starting the service with its own database" start_service

replay() {
    "$TARGET"/release/sluicegen replay "$SAMPLE" --wide --time-column date --id1 1 --id2 seattle \
        --target "$grpc" --stream-id seattle-weather --json >"$work/replay.json"
}
step "replaying $SAMPLE" replay

stream() {
    "$TARGET"/release/sluicegen run --target "$grpc" --mode stream-acked --connections 2 --series 10000 \
        --count "$GENERATED" --json >"$work/full.json"
    # At a twentieth of that rate, an acknowledgement is a matter of milliseconds.
    local gentle
    gentle=$(jq '(.rows_per_s / 20) | floor' "$work/full.json")
    "$TARGET"/release/sluicegen run --target "$grpc" --mode stream-acked --connections 2 --series 10000 \
        --rate "$gentle" --duration 3s --json >"$work/gentle.json"
}
step "streaming $GENERATED readings at full rate, then 3 seconds at a twentieth of it" stream

check_books() {
    local sent books stored
    sent=$(jq -s 'map(.sent) | add' "$work/replay.json" "$work/full.json" "$work/gentle.json")
    books=$(curl -fsS "$rest/readyz" | jq -c .books)
    jq -e --argjson sent "$sent" \
        '.received == $sent and .received == .committed + .rejected + .duplicate + .in_flight and .in_flight == 0' \
        <<<"$books" >/dev/null || fail "the books do not balance: sent $sent, $books"
    stored=$(mariadb --defaults-file="$work/data/client.cnf" \
        --batch --skip-column-names sluicegate -e 'SELECT COUNT(*) FROM sensor_readings')
    [ "$stored" -eq "$(jq .committed <<<"$books")" ] || fail "the table holds $stored rows: $books"
    [ "$(jq .sent "$work/replay.json")" -eq 26277 ] || fail "the weather record has 26277 readings"
}
step "checking the books: received = committed + rejected + duplicate, and COUNT(*)" check_books

query() {
    local day=from_time=2010-07-01T00:00:00Z\&to_time=2010-07-02T00:00:00Z
    curl -fsS "$rest/api/v1/sensor/aggregate?$day&id1=1&id2=seattle&bucket=1d" >"$work/aggregate.json"
    curl -fsS "$rest/api/v1/sensor/ids-time?$day&id1=1&id2=seattle&sensor_type=temperature&limit=100" >"$work/day.json"
    [ "$(jq .count "$work/day.json")" -eq 24 ] || fail "the first of July has 24 hourly temperatures"
}
step "asking REST for one day" query

row() {
    jq -r --arg name "$2" '[$name, .sent, .committed, .rejected, .duplicate, (.rows_per_s | floor),
        (.ack_ms.p50 | tostring), (.ack_ms.p99 | tostring)] | @tsv' "$work/$1.json"
}
echo
{
    printf 'what\tsent\tcommitted\trejected\tduplicate\trows/s\tack p50 ms\tack p99 ms\n'
    row replay "weather record"
    row full "full rate"
    row gentle "a twentieth"
} | column -t -s "$(printf '\t')"
echo
jq -r '.buckets[] | "on 2010-07-01 \(.sensor_type): \(.count) readings, \(.min) to \(.max)"' "$work/aggregate.json"
echo
say "the books balance: every acknowledged reading is in the table, once"
cat <<EXPLANATION

"ack" is the time from when a reading should be sent until it is committed on disk. At full rate the generator sends whatever is
taken, so a reading spends most of that time in a queue: its length in readings, divided by the rate. At a twentieth of the rate
there is no queue, and the time is what a reading takes by itself.
EXPLANATION

what_next() {
    echo
    if [ -n "$keep" ]; then
        cat <<NEXT
The service is still running, with its data in $work:
  the page: state, series, charts       $rest/
  every question, with its parameters   $rest/swagger
  what it is doing, for Prometheus      $rest/metrics
  one more load                         $TARGET/release/sluicegen run --target $grpc --rate 10k --duration 30s
  the table itself                      mariadb --defaults-file=$work/data/client.cnf sluicegate
  stop it, and remove what it stored    kill $service; rm -rf $work
NEXT
    else
        cat <<NEXT
What to try next:
  scripts/demo.sh --keep                leaves the service running: page, Swagger UI, metrics, the table
  $TARGET/release/sluicegate serve --embedded-db
                                        a service to stay, with its data in sluicegate-data
  docs/start.md                         the first five minutes, step by step
  docs/send-python.md                   your own readings, from Python (or Rust, or Go)
NEXT
    fi
}
what_next
