#!/usr/bin/env bash
# Installs what is missing, then runs every check and test, against real MariaDB and real MySQL.

. "$(dirname "$0")/lib.sh"
cd "$(dirname "$0")/.."

# Chromium is for the Swagger UI, which is tried out from its page.
need_packages build-essential pkg-config curl jq ca-certificates chromium chromium-driver
need_mariadb
need_cargo
step "MySQL" scripts/install-mysql.sh

export SLUICEGATE_TEST_ENGINES=mariadb,mysql
export SLUICEGATE_TEST_BROWSER=required
export SLUICEGATE_TEST_MYSQLD="$SLUICEGATE_CACHE/mysql/bin/mysqld"

step "cargo fmt" cargo fmt --all --check
step "cargo clippy" cargo clippy --quiet --workspace --all-targets --all-features -- -D warnings
step "cargo test" cargo test --quiet --workspace --all-features
step "faults" scripts/faults.sh --quick
say "all checks and tests passed"
