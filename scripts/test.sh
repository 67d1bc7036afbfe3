#!/usr/bin/env bash
# Installs what is missing, then runs every check and test, against real MariaDB and real MySQL.
#
#   scripts/test.sh           what every change has to pass
#   scripts/test.sh --full    with the tests of ingestion on the layout series, a few faults of each kind on MySQL as well, and more
#                             questions to the REST interfaces

. "$(dirname "$0")/lib.sh"
cd "$(dirname "$0")/.."

api_options=
full=no
faults_options="--engine mariadb"
case "${1:-}" in
    "") ;;
    --full) full=yes api_options=--full faults_options= ;;
    *) fail "unknown option $1: the only one is --full" ;;
esac

# A full disk and memory that is used up look like faults of anything else.
say_room() {
    say "room: $(df --block-size=G --output=avail . /tmp | tail -n +2 | tr -s ' \n' ' ')of disk here and in /tmp," \
        "$(awk '/^MemAvailable/ { printf "%d MiB", $2 / 1024 }' /proc/meminfo) of memory"
}
clean_up() {
    [ "$1" -eq 0 ] || say_room
}
say_room

need_packages build-essential pkg-config curl jq ca-certificates python3
need_mariadb
need_cargo
need_cargo_parts fmt clippy
step "MySQL" scripts/install-mysql.sh

export SLUICEGATE_TEST_ENGINES=mariadb,mysql
# The pages and the Swagger UI are tried out in a browser.
if need_chromium; then
    export SLUICEGATE_TEST_BROWSER=required
else
    say "no chromedriver here, and no package of it: the pages and the Swagger UI are NOT tried out in a browser"
fi
if need_npm; then
    step "pages" scripts/page.sh
    export SLUICEGATE_TEST_PAGE=required
else
    say "no npm here, and no package of it: there are no pages to try out"
fi
if need_galera; then
    export SLUICEGATE_TEST_GALERA=required
else
    say "no package galera-4 here: the limits of a cluster are NOT tried out"
fi
if need_kafka; then
    export SLUICEGATE_TEST_KAFKA=required SLUICEGATE_TEST_KAFKA_DIR="$SLUICEGATE_CACHE/kafka"
else
    say "no Kafka here: the source of that name is NOT tried out"
fi
if need_rabbitmq; then
    export SLUICEGATE_TEST_RABBITMQ=required
else
    say "no package rabbitmq-server here: the source of that name is NOT tried out"
fi
if need_mosquitto; then
    export SLUICEGATE_TEST_MOSQUITTO=required
else
    say "no package mosquitto here: the source that is MQTT is NOT tried out"
fi
if need_redis; then
    export SLUICEGATE_TEST_REDIS=required
else
    say "no package of Valkey or Redis here: the cache is NOT tried out"
fi
export SLUICEGATE_TEST_MYSQLD="$SLUICEGATE_CACHE/mysql/bin/mysqld"

# Tests wait more than they work: for databases, deadlines and clocks.
export RUST_TEST_THREADS="${RUST_TEST_THREADS:-$((2 * $(nproc)))}"
step "cargo fmt" cargo fmt --all --check
step "cargo clippy" cargo clippy --quiet --workspace --all-targets --all-features -- -D warnings
step "supply chain" scripts/check-supply.sh
step "cargo test" cargo test --quiet --no-fail-fast --workspace --all-features
if [ "$full" = yes ]; then
    step "ingestion on the layout series" env SLUICEGATE_TEST_LAYOUT=series \
        cargo test --quiet --no-fail-fast --workspace --all-features --test ingest
fi
step "Prometheus" scripts/install-prometheus.sh
step "metrics, alerts, dashboards" scripts/observe/main.py "$TARGET/debug" "$SLUICEGATE_CACHE/prometheus/bin"
step "dashboards' schema" scripts/check-dashboards.sh
step "Kubernetes" scripts/check-kubernetes.sh "$TARGET/debug"
step "units of systemd" scripts/check-units.sh "$TARGET/debug"
# They wait more than they work, too.
step "the book, the REST interfaces, the Python client" side_by_side "scripts/check-docs.sh $TARGET/debug" \
    "scripts/check-api.sh $TARGET/debug $api_options" "scripts/python.sh $TARGET/debug"
# A few faults of each kind, some minutes; SLUICEGATE_TEST_FAULTS=no leaves them out.
if [ "${SLUICEGATE_TEST_FAULTS:-yes}" != no ]; then
    # shellcheck disable=SC2086 # words are meant
    step "faults" scripts/faults.sh --quick $faults_options
fi
say_room
say "all checks and tests passed"
