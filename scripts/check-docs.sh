#!/usr/bin/env bash
# Holds the book to what it says: links lead somewhere, and the commands of its pages do what they show, with the real
# programs and a real database.
#
#   scripts/check-docs.sh PROGRAMS            the folder of sluicegate and sluicegen
#   scripts/check-docs.sh PROGRAMS PAGE...    these pages only, as docs/start.md
#
# What a page installs (a client in Python, one in Go, grpcurl) is kept in the cache directory. Where it cannot be had the
# rest of that page is left out, which is said.

. "$(dirname "$0")/lib.sh"

[ $# -ge 1 ] || fail "which sluicegate? give the folder of the programs"
need_packages python3 python3-venv protobuf-compiler curl jq ca-certificates
need_mariadb
# The page on the embedded database makes a dump with it.
command -v mariadb-dump >/dev/null || need_packages mariadb-client
mkdir -p "$SLUICEGATE_CACHE/docs"
exec python3 "$(dirname "$0")/docs/main.py" "$1" "$SLUICEGATE_CACHE/docs" "${@:2}"
