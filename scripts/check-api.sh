#!/usr/bin/env bash
# Holds the two REST interfaces to their OpenAPI documents: schemathesis makes requests of them that are valid and that are
# not, and looks at every answer with all its checks. It deletes and changes readings, so the database is its own.
#
#   scripts/check-api.sh PROGRAMS           a minute or so; the folder of sluicegate and sluicegen
#   scripts/check-api.sh PROGRAMS --full    some minutes
#
# What may be refused although the document allows it stands in scripts/api/rules.py, with the reasons.

. "$(dirname "$0")/lib.sh"
cd "$(dirname "$0")/.."

[ $# -ge 1 ] || fail "which sluicegate? give the folder of the programs"
programs=$1
# Requests of each kind for each operation. The seed is fixed: what fails once fails again.
examples=25
case "${2:-}" in
    "") ;;
    --full) examples=500 ;;
    *) fail "unknown option $2: the only one is --full" ;;
esac
SEED=1

need_packages python3 python3-venv curl jq ca-certificates
need_mariadb
python="$SLUICEGATE_CACHE/schemathesis"
if ! cmp -s scripts/api/requirements.txt "$python/requirements.txt"; then
    rm -rf "$python"
    mkdir -p "$SLUICEGATE_CACHE"
    python3 -m venv "$python"
    if ! "$python/bin/pip" install --quiet --disable-pip-version-check --requirement scripts/api/requirements.txt; then
        rm -rf "$python"
        say "no PyPI here: the REST interfaces are NOT held to their OpenAPI documents"
        exit 0
    fi
    cp scripts/api/requirements.txt "$python"
fi

work=$(mktemp -d)
service='' generator=''
clean_up() {
    local status=$1 process
    for process in $generator $service; do
        kill "$process" 2>/dev/null && wait "$process" 2>/dev/null || true
    done
    [ "$status" -eq 0 ] || tail -n 20 "$work"/*.log >&2
    rm -rf "$work"
}

wait_for() {
    local process=$1 file=$2 waited
    for ((waited = 0; waited < 600; waited++)); do
        [ -f "$file" ] && return
        kill -0 "$process" 2>/dev/null || fail "a program did not start"
        sleep 0.2
    done
    fail "waited in vain for $file"
}

# Every answer to a wrong token is to be the same one, so their number has no limit here.
start() {
    "$programs/sluicegate" token new --name root --scopes admin --file "$work/tokens.yaml" --into "$work/token"
    "$programs/sluicegate" serve --embedded-db="$work/data" --layout series --grpc-addr 127.0.0.1:0 --rest-addr 127.0.0.1:0 \
        --auth-tokens "$work/tokens.yaml" --auth-open-metrics none --auth-max-failures 1000000 \
        --ready-file "$work/service.json" >"$work/service.log" 2>&1 &
    service=$!
    wait_for "$service" "$work/service.json"
    grpc=http://$(jq -r .grpc_addr "$work/service.json")
    "$programs/sluicegen" run --target "$grpc" --token-file "$work/token" --stream-id gateway- --count 2000 --bad 0.01 \
        --id1 0,1 --id2 A,B --types temperature --start-time 2026-01-31T12:00:00Z >/dev/null 2>"$work/readings.log"
    "$programs/sluicegen" serve --addr 127.0.0.1:0 --target "$grpc" --token-file "$work/token" \
        --api-token-file "$work/token" --ready-file "$work/generator.json" >"$work/generator.log" 2>&1 &
    generator=$!
    wait_for "$generator" "$work/generator.json"
}

# check NAME: all that the document of this program tells.
check() {
    local base
    base=http://$(jq -r .rest_addr "$work/$1.json")
    (rules=$PWD/scripts/api && cd "$work" && PYTHONPATH=$rules PYTHONDONTWRITEBYTECODE=1 SCHEMATHESIS_HOOKS=rules TARGET="$grpc" \
        TOKEN=$(cat "$work/token") "$python/bin/schemathesis" --config-file "$rules/$1.toml" run "$base/openapi.json" --url "$base/api/v1" --request-timeout 60 \
        --seed "$SEED" --max-examples "$examples" --generation-database none --continue-on-failure --no-color)
    curl -fsS "$base/healthz" >/dev/null || fail "the $1 is no longer alive"
}

step "starting the service and the generator, with some readings" start
step "the REST interface of the service" check service
step "the REST interface of the generator" check generator
