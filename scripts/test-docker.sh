#!/usr/bin/env bash
# Builds the images of docker/Dockerfile and tries the stack of docker/compose.yaml out: brings it up, scales it to ten
# generators, reconciles the books, kills and restarts its parts under load, takes it down.
#
#   scripts/test-docker.sh
#
# It takes the Docker engine that answers, or starts Debian's own, away from the network and only for the test. Images of a
# registry that cannot be had are made of what this machine has: the build image of its own Rust toolchain, Node.js of
# Debian, MySQL of install-mysql.sh, Prometheus of the distribution's package. It needs some 10 GB in TMPDIR for that, and 10 to 20 minutes.
#
#   RUST_IMAGE=, NODE_IMAGE=, MYSQL_IMAGE=, PROMETHEUS_IMAGE=, GRAFANA_IMAGE=   other images than those that docker/ names

. "$(dirname "$0")/lib.sh"
cd "$(dirname "$0")/.."
. scripts/docker/engine.sh
. scripts/docker/images.sh

export TAG=test
work=$(mktemp -d)
clean_up() {
    if [ -z "$engine" ]; then
        docker image ls --format '{{.Repository}}:{{.Tag}}' | grep -E "^(sluicegate|sluicegen):$TAG$|^sluicegate-test/" |
            xargs -r docker image rm >/dev/null 2>&1
    fi
    stop_engine
    rm -rf "$work"
}

need_packages python3 curl
docker info >/dev/null 2>&1 || step "starting a Docker engine" start_engine
if docker compose version >/dev/null 2>&1; then
    compose=(docker compose)
else
    need_packages docker-compose
    compose=(docker-compose)
fi
say "Docker $(docker version --format '{{.Server.Version}}'), $("${compose[@]}" version --short) of ${compose[*]}"

provide RUST_IMAGE rust
provide NODE_IMAGE node
provide MYSQL_IMAGE mysql
provide PROMETHEUS_IMAGE prometheus
provide GRAFANA_IMAGE grafana
[ -n "$RUST_IMAGE" ] && [ -n "$NODE_IMAGE" ] && [ -n "$MYSQL_IMAGE" ] || fail "without Rust, Node.js and MySQL there is nothing to try out"

commit=$(git rev-parse HEAD 2>/dev/null || echo 0123456789abcdef)
build() {
    "${compose[@]}" -f docker/compose.yaml build --build-arg "RUST_IMAGE=$RUST_IMAGE" --build-arg "NODE_IMAGE=$NODE_IMAGE" \
        --build-arg "SLUICEGATE_COMMIT=$commit" sluicegate generator >"$work/build.log" 2>&1 || { tail -n 40 "$work/build.log" >&2; fail "the images cannot be built"; }
}
step "building the images (some minutes)" build

# dependencies FOLDER: the image with the dependencies alone.
dependencies() {
    docker build --quiet --build-arg "RUST_IMAGE=$RUST_IMAGE" --build-arg "NODE_IMAGE=$NODE_IMAGE" --file docker/Dockerfile --target dependencies "$1" 2>"$work/build.log"
}

# A change to a program must not build its dependencies anew.
check_cache() {
    local before after
    before=$(dependencies .)
    mkdir "$work/changed"
    cp -r Cargo.toml Cargo.lock LICENSE-* .dockerignore proto service generator sql docker "$work/changed"
    echo '// changed' >>"$work/changed/service/src/main.rs"
    after=$(dependencies "$work/changed")
    [ -n "$before" ] && [ "$before" = "$after" ] || fail "a change to a program builds its dependencies anew: $before, $after"
}
step "dependencies come out of the cache" check_cache

try_out() {
    beside_engine scripts/docker/main.py "$commit" "${compose[@]}"
}
step "the stack" try_out
say "all that was tried out works"
