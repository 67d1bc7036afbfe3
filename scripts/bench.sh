#!/usr/bin/env bash
# Measures Sluicegate beside what one would otherwise use, in one run on one machine, and writes bench-results/.
#
#   scripts/bench.sh                        everything, 5 rounds (growth, growth-seed and rest: fewer)
#   scripts/bench.sh --quick                fewer readings, 3 rounds
#   scripts/bench.sh --case NAME            one case (may be given more than once); --list names them
#   scripts/bench.sh --engine mariadb       one engine (mariadb or mysql)
#   scripts/bench.sh --against COMMIT       builds that commit too, and prints how the present code compares with it, in ten
#                                           alternating pairs; with --write also into bench-results/against.json
#   scripts/bench.sh --secured              what TLS and a token cost, in ten alternating pairs
#   scripts/bench.sh --scraped              what it costs to be asked for /metrics every second, in ten alternating pairs

. "$(dirname "$0")/lib.sh"
cd "$(dirname "$0")/.."

need_packages build-essential curl jq ca-certificates python3
need_mariadb
# With the other clients, not with the server's.
command -v mariadb-import >/dev/null || need_packages mariadb-client
need_cargo
step "MySQL" scripts/install-mysql.sh
need_redis || say "no package of Valkey or Redis here: the case newest does NOT run"
need_postgresql || say "no PostgreSQL here: the case neighbours does NOT measure beside it"
step "building" cargo build --quiet --release --bins --examples
exec python3 scripts/bench/main.py "$@"
