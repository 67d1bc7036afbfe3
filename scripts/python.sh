#!/usr/bin/env bash
# Builds the Python client, and holds it to its types, its style and its tests: a model of the service that breaks everything,
# and the real service with a real MariaDB, both of them killed on the way.
#
#   scripts/python.sh PROGRAMS    a few minutes; the folder of sluicegate
#
# What it needs of PyPI is kept in the cache directory. Where that cannot be had nothing is tried out, which is said.

. "$(dirname "$0")/lib.sh"
cd "$(dirname "$0")/.."

[ $# -eq 1 ] || fail "which sluicegate? give the folder of the programs"
programs=$(realpath "$1")
package=$PWD/proto/python
[ -x "$programs/sluicegate" ] || fail "there is no sluicegate in $programs: build it first"

has_venv() {
    python3 -c 'import ensurepip, venv' 2>/dev/null
}

has_venv || (need_packages python3 python3-venv) || true
if ! has_venv; then
    say "no python3-venv here: the Python client is NOT built and NOT tried out"
    exit 0
fi
need_mariadb

python="$SLUICEGATE_CACHE/python-client"
if ! cmp -s "$package/requirements-dev.txt" "$python/requirements-dev.txt"; then
    rm -rf "$python"
    mkdir -p "$SLUICEGATE_CACHE"
    python3 -m venv "$python"
    if ! "$python/bin/pip" install --quiet --disable-pip-version-check --requirement "$package/requirements-dev.txt"; then
        rm -rf "$python"
        say "no PyPI here: the Python client is NOT built and NOT tried out"
        exit 0
    fi
    cp "$package/requirements-dev.txt" "$python"
fi

work=$(mktemp -d)
clean_up() {
    rm -rf "$work"
}

# Without isolation: the tools are kept, and PyPI may be away by now.
build() {
    local pip=("$python/bin/pip" --quiet --disable-pip-version-check)
    "${pip[@]}" wheel --no-deps --no-build-isolation --wheel-dir "$work" "$package"
    "${pip[@]}" install --no-deps --force-reinstall "$work"/*.whl
}

# What was installed is looked at, not what lies in the folder; and nothing is left in the folder.
in_package() {
    (cd "$package" && PYTHONDONTWRITEBYTECODE=1 SLUICEGATE_TEST_PROGRAMS=$programs "$python/bin/python" -m "$@")
}

step "the wheel" build
step "ruff" in_package ruff check --no-cache --quiet .
step "ruff format" in_package ruff format --no-cache --quiet --check .
step "mypy" in_package mypy --cache-dir "$work/mypy"
step "the tests" in_package pytest -p no:cacheprovider -rs
