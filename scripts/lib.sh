# Functions that the scripts share. Source it: . "$(dirname "$0")/lib.sh"
# shellcheck shell=bash

set -euo pipefail

# What is downloaded once and kept: MySQL in mysql/, PostgreSQL in postgresql/, and so on.
# shellcheck disable=SC2034 # for the scripts that source this
SLUICEGATE_CACHE="${SLUICEGATE_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/sluicegate}"
MINIMUM_RUST_MINOR=88
lib_started_s=$SECONDS
lib_apt_updated=
lib_step=
lib_policy=
lib_beside=()
# Where cargo puts what it builds.
# shellcheck disable=SC2034 # for the scripts that source this
TARGET="${CARGO_TARGET_DIR:-target}"
trap lib_at_exit EXIT

# One line of progress, with the seconds since the script began.
say() {
    printf '[%4ds] %s\n' "$((SECONDS - lib_started_s))" "$*"
}

fail() {
    printf '[%4ds] error: %s\n' "$((SECONDS - lib_started_s))" "$*" >&2
    exit 1
}

# step NAME COMMAND...: runs it and says how long it took, or which step failed.
step() {
    local begun_s=$SECONDS
    lib_step=$1
    shift
    say "$lib_step"
    # Plainly, not before `||`: that would turn off `set -e` inside a function.
    "$@"
    say "$lib_step: done in $((SECONDS - begun_s)) s"
    lib_step=
}

# side_by_side COMMAND...: runs commands, each given as one word with its arguments in it, at the same time. What each prints
# comes when it has ended. Fails when one has.
side_by_side() {
    local logs command i failed=0
    local pids=()
    logs=$(mktemp -d)
    for command in "$@"; do
        # shellcheck disable=SC2086 # words are meant
        (exec $command) >"$logs/${#pids[@]}" 2>&1 &
        pids+=($!)
    done
    lib_beside=("${pids[@]}")
    for i in "${!pids[@]}"; do
        wait "${pids[i]}" || failed=1
        cat "$logs/$i"
    done
    lib_beside=()
    rm -rf "$logs"
    return "$failed"
}

# A script with something to clean up defines `clean_up STATUS`. With `set -e` the first command of it that fails would be
# its last.
lib_at_exit() {
    local status=$?
    set +e
    [ ${#lib_beside[@]} -eq 0 ] || kill "${lib_beside[@]}" 2>/dev/null
    if declare -F clean_up >/dev/null; then
        clean_up "$status"
    fi
    lib_remove_policy
    if [ "$status" -ne 0 ] && [ -n "$lib_step" ]; then
        printf '[%4ds] error: %s failed\n' "$((SECONDS - lib_started_s))" "$lib_step" >&2
    fi
    exit "$status"
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        fail "this needs root: install sudo or run as root: $*"
    fi
}

have_package() {
    [ "$(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

update_package_lists() {
    [ -n "$lib_apt_updated" ] && return
    say "updating the package lists"
    as_root apt-get update -qq
    lib_apt_updated=1
}

# Installs the packages that are missing, and never removes one to make room.
need_packages() {
    local missing=() package
    for package in "$@"; do
        have_package "$package" || missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return
    command -v apt-get >/dev/null || fail "install by hand, there is no apt-get here: ${missing[*]}"
    update_package_lists
    say "installing ${missing[*]}"
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends --no-remove "${missing[@]}" >/dev/null
}

# The MariaDB programs without the system service: we only run private servers.
need_mariadb() {
    if [ -x /usr/sbin/mariadbd ] && command -v mariadb-install-db >/dev/null && command -v mariadb >/dev/null; then
        return
    fi
    command -v apt-get >/dev/null || fail "install the MariaDB server by hand, there is no apt-get here"
    update_package_lists
    # Ubuntu before 24.04 has the version in the name.
    local names server
    names=$(apt-cache pkgnames mariadb-server-core)
    server=$(sort -V <<<"$names" | grep -E '^mariadb-server-core(-[0-9.]+)?$' | head -n 1) || true
    [ -n "$server" ] || fail "no package mariadb-server-core here: install a MariaDB server by hand"
    need_packages "$server" "${server/server/client}"
}

# Whether there is a Chromium that a program can drive. Ubuntu has it as a snap only, which we do not install.
need_chromium() {
    command -v chromedriver >/dev/null && command -v chromium >/dev/null && return
    command -v apt-get >/dev/null || return
    update_package_lists
    apt-cache show chromium-driver >/dev/null 2>&1 || return
    need_packages chromium chromium-driver || fail "Chromium cannot be installed"
}

# Whether there is an npm to build the pages with. Older ones than Node.js 18 do not.
need_npm() {
    if ! { command -v node >/dev/null && command -v npm >/dev/null; }; then
        command -v apt-get >/dev/null || return
        update_package_lists
        apt-cache show nodejs npm >/dev/null 2>&1 || return
        need_packages nodejs npm || fail "npm cannot be installed"
    fi
    [ "$(node --version | sed 's/^v//; s/[.].*//')" -ge 18 ]
}

# Whether MariaDB has the library of its clusters.
need_galera() {
    have_package galera-4 && return
    command -v apt-get >/dev/null || return
    update_package_lists
    apt-cache show galera-4 >/dev/null 2>&1 || return
    need_packages galera-4 || fail "Galera cannot be installed"
}

# need_packages_only UNITS PACKAGE...: installs packages that bring services of the system, and lets those run neither now
# nor at the next boot, since we only run private ones. A unit that was there before is left as it is.
need_packages_only() {
    local policy=/usr/sbin/policy-rc.d unit new=() status=0
    for unit in $1; do
        [ -e "/lib/systemd/system/$unit" ] || new+=("$unit")
    done
    shift
    # Containers often have one, which forbids every service. Ours would do no harm if it stayed.
    if [ ${#new[@]} -gt 0 ] && ! [ -e "$policy" ]; then
        lib_policy=$policy
        printf '#!/bin/sh\ncase " %s " in *" $1 "* | *" $1."*) exit 101 ;; esac\n' "${new[*]}" |
            as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
    fi
    need_packages "$@" || status=$?
    lib_remove_policy
    if [ $status -eq 0 ] && [ ${#new[@]} -gt 0 ] && command -v systemctl >/dev/null; then
        as_root systemctl disable --quiet "${new[@]}" 2>/dev/null || status=$?
    fi
    return $status
}

lib_remove_policy() {
    [ -z "$lib_policy" ] || as_root rm -f "$lib_policy"
    lib_policy=
}

# Whether there is a RabbitMQ for private brokers, and a client of others to talk to it.
need_rabbitmq() {
    [ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] && command -v epmd >/dev/null && command -v amqp-publish >/dev/null && return
    command -v apt-get >/dev/null || return
    update_package_lists
    apt-cache show rabbitmq-server amqp-tools >/dev/null 2>&1 || return
    need_packages_only "rabbitmq-server.service epmd.service epmd.socket" rabbitmq-server amqp-tools ||
        fail "RabbitMQ cannot be installed"
}

# Whether there is a Mosquitto for private brokers, and its clients.
need_mosquitto() {
    [ -x /usr/sbin/mosquitto ] && command -v mosquitto_pub >/dev/null && return
    command -v apt-get >/dev/null || return
    update_package_lists
    apt-cache show mosquitto mosquitto-clients >/dev/null 2>&1 || return
    need_packages_only mosquitto.service mosquitto mosquitto-clients || fail "Mosquitto cannot be installed"
}

# A cache: Valkey where there is a package of it, else Redis.
need_redis() {
    command -v valkey-server >/dev/null && return
    command -v redis-server >/dev/null && return
    command -v apt-get >/dev/null || return
    update_package_lists
    for package in valkey-server redis-server; do
        apt-cache show "$package" >/dev/null 2>&1 || continue
        need_packages_only "$package.service" "$package" || fail "$package cannot be installed"
        return
    done
    return 1
}

# get_sid FOLDER PACKAGE,...: Debian unstable with these packages, in FOLDER/root. Beside it is an empty folder for wrappers.
get_sid() {
    need_packages debootstrap debian-archive-keyring ca-certificates
    as_root rm -rf "$1"
    mkdir -p "$1/bin"
    # debootstrap is in sbin, which is not on everyone's PATH.
    as_root env PATH="$PATH:/usr/sbin:/sbin" debootstrap --variant=minbase ${2:+"--include=$2"} sid "$1/root" \
        >"$1/debootstrap.log" 2>&1 ||
        { tail -n 15 "$1/debootstrap.log" >&2; fail "debootstrap failed; its log is $1/debootstrap.log"; }
}

# write_wrapper NAME PROGRAM ARGUMENTS FOLDER: FOLDER/bin/NAME runs a program of FOLDER/root as it is, without chroot. It needs
# the libraries, and so the loader, of its own root. `exec` keeps the process id.
write_wrapper() {
    local name=$1 program=$2 arguments=$3
    cat >"$4/bin/$name" <<WRAPPER
#!/bin/sh
root=\$(dirname "\$(dirname "\$(readlink -f "\$0")")")/root
for loader in "\$root"/usr/lib/*-linux-gnu/ld-linux*.so.*; do break; done
exec "\$loader" --inhibit-cache --library-path "\${loader%/*}" "\$root/$program" "\$@"$arguments
WRAPPER
    chmod 755 "$4/bin/$name"
}

# Whether there is a PostgreSQL in the cache. Said aloud where there cannot be.
need_postgresql() {
    local status=0
    "$(dirname "${BASH_SOURCE[0]}")/install-postgresql.sh" || status=$?
    [ $status -eq 0 ] || [ $status -eq 69 ] || fail "PostgreSQL cannot be installed"
    return $status
}

# Whether there is a Kafka in the cache, and a Java that runs it. Said aloud where there cannot be.
need_kafka() {
    local status=0
    "$(dirname "${BASH_SOURCE[0]}")/install-kafka.sh" || status=$?
    [ $status -eq 0 ] || [ $status -eq 69 ] || fail "Kafka cannot be installed"
    return $status
}

need_cargo() {
    # What librdkafka is built with and linked against.
    need_packages build-essential pkg-config libssl-dev
    # rustup puts it where a plain shell does not look.
    command -v cargo >/dev/null || PATH="$HOME/.cargo/bin:$PATH"
    command -v cargo >/dev/null || fail "cargo is missing: install Rust with rustup"
    local version minor
    version=$(cargo --version | cut -d' ' -f2)
    minor=$(cut -d. -f2 <<<"$version")
    [ "$minor" -ge "$MINIMUM_RUST_MINOR" ] ||
        fail "cargo $version is too old: this needs 1.$MINIMUM_RUST_MINOR (rustup update)"
}

# Parts of the toolchain that a minimal one lacks.
need_cargo_parts() {
    local part
    for part in "$@"; do
        cargo "$part" --version >/dev/null 2>&1 || fail "cargo $part is missing: rustup component add rustfmt clippy"
    done
}

# Compose of Docker: the plugin, or else the older program of its own.
compose() {
    if docker compose version >/dev/null 2>&1; then
        docker compose "$@"
    elif command -v docker-compose >/dev/null; then
        docker-compose "$@"
    else
        fail "there is no docker compose here: install its plugin, or the package docker-compose"
    fi
}
