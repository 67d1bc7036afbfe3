#!/usr/bin/env bash
# Two instances behind one database and HAProxy: ten generators, a rolling restart under load, and a kill, on both engines.
#
#   scripts/test-instances.sh [--engine mysql|mariadb] [--rate N] [--phase SECONDS]

. "$(dirname "$0")/lib.sh"
cd "$(dirname "$0")/.."

need_packages build-essential pkg-config curl ca-certificates python3 haproxy
need_mariadb
need_cargo
step "MySQL" scripts/install-mysql.sh
step "building" cargo build --quiet --release --bins --examples
scripts/instances/main.py "$TARGET/release" "$@"
