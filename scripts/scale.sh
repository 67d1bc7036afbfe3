#!/usr/bin/env bash
# Brings up N more generators beside the running stack of docker/compose.yaml, and shows what all of them do.
#
#   scripts/scale.sh N
#
# Back to one:  docker compose -f docker/compose.yaml up -d --no-recreate --scale generator=1 generator

. "$(dirname "$0")/lib.sh"
cd "$(dirname "$0")/.."

more=${1:-}
[[ $# -eq 1 && $more =~ ^[1-9][0-9]{0,2}$ ]] || fail "how many more generators? scripts/scale.sh N, with N from 1 to 999"

# Compose reads it by itself.
export COMPOSE_FILE="${COMPOSE_FILE:-docker/compose.yaml}"
command -v docker >/dev/null || fail "docker is missing"
docker info >/dev/null 2>&1 || fail "no Docker engine answers: $(docker info 2>&1 | tail -n 1)"
[ -n "$(compose ps -q sluicegate)" ] || fail "the stack is not up: docker compose -f docker/compose.yaml up -d"
there=$(compose ps -q generator | wc -l)
wanted=$((there + more))

add() {
    compose up -d --no-recreate --no-deps --no-build --scale "generator=$wanted" generator
}
step "$more more generators, $wanted in all" add

fleet() {
    compose run --rm -T fleet "$@"
}

# A container that has been started does not listen yet.
all_answer() {
    local waited told
    for ((waited = 0; waited < 30; waited++)); do
        if told=$(fleet stats --watch --looks 1 2>&1) && [[ $told == *" of $wanted run,"* ]]; then
            return
        fi
        sleep 1
    done
    compose ps
    printf '%s\n' "$told"
    fail "of $wanted generators not all answer"
}
step "asking all of them" all_answer
fleet stats
