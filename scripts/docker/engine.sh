# A Docker engine for a test: the one that answers, or Debian's own in namespaces of its own. Source it after lib.sh.
# shellcheck shell=bash

engine=
engine_dir=

# Everything of it is in namespaces: networks, rules of the firewall, mounts and processes end with it, and ports that it
# publishes are reached from inside alone. Nothing can be pulled there.
start_engine() {
    need_packages docker.io iproute2
    if docker info >/dev/null 2>&1; then
        return # the package has started one
    fi
    [ "$(id -u)" -eq 0 ] || fail "no Docker engine answers ($(docker info 2>&1 | tail -n 1)), and only root can start one"
    engine_dir=$(mktemp -d "${TMPDIR:-/tmp}/sluicegate-docker-XXXXXX")
    mkdir "$engine_dir/sys"
    # shellcheck disable=SC2016 # expanded inside
    unshare --mount --net --pid --fork --kill-child --mount-proc sh -c '
        set -e
        ip link set lo up
        # An engine or a containerd of this machine is not ours.
        mkdir -p /run/containerd /run/docker
        mount -t tmpfs tmpfs /run/containerd
        mount -t tmpfs tmpfs /run/docker
        # That of the new network.
        mount -t sysfs sysfs "$1/sys" && mount --rbind /sys/fs/cgroup "$1/sys/fs/cgroup" && mount --move "$1/sys" /sys
        exec dockerd --data-root "$1/data" --exec-root "$1/exec" --pidfile "$1/pid" --host "unix://$1/docker.sock"
    ' dockerd "$engine_dir" >"$engine_dir/log" 2>&1 &
    engine=$!
    export DOCKER_HOST="unix://$engine_dir/docker.sock"
    local waited
    for ((waited = 0; waited < 300; waited++)); do
        docker info >/dev/null 2>&1 && return
        kill -0 "$engine" 2>/dev/null || break
        sleep 0.2
    done
    tail -n 20 "$engine_dir/log" >&2
    fail "the Docker engine does not start"
}

stop_engine() {
    [ -n "$engine" ] || return 0
    local waited daemon
    # `unshare` waits for it, and takes no SIGTERM itself.
    daemon=$(cat "/proc/$engine/task/$engine/children" 2>/dev/null)
    # shellcheck disable=SC2086 # one number
    [ -z "$daemon" ] || kill $daemon 2>/dev/null
    for ((waited = 0; waited < 300; waited++)); do
        kill -0 "$engine" 2>/dev/null || break
        sleep 0.1
    done
    # Whatever is left ends with it.
    kill -KILL "$engine" 2>/dev/null
    wait "$engine" 2>/dev/null
    rm -rf "$engine_dir"
}

# Runs a command where the engine publishes its ports, and where the processes of containers have the numbers that it tells.
beside_engine() {
    if [ -n "$engine" ]; then
        local daemon
        daemon=$(cat "/proc/$engine/task/$engine/children")
        nsenter --target "${daemon% }" --net --pid --mount --wd="$PWD" "$@"
    else
        "$@"
    fi
}
