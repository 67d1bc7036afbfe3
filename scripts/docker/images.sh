# Images that docker/ takes from a registry: as they are there, or made here of what this machine has. Source it after
# engine.sh.
# shellcheck shell=bash

# What the papers name: `${MYSQL_IMAGE:-mysql:1.2}` in compose.yaml, `ARG RUST_IMAGE=rust:1.2` in the Dockerfile.
default_image() {
    sed -n "s/.*\${$1:-\([^}]*\)}.*/\1/p; s/^ARG $1=//p" docker/compose.yaml docker/Dockerfile | head -n 1
}

# provide VARIABLE NAME: sets VARIABLE to an image that is there, by a name that was given, by that of the papers, or by one that
# make_NAME made.
provide() {
    local variable=$1 name=$2 image
    image=${!variable:-$(default_image "$variable")}
    [ -n "$image" ] || fail "neither compose.yaml nor the Dockerfile has a default for $variable"
    if docker image inspect "$image" >/dev/null 2>&1; then
        say "$variable is $image, which is here"
    elif [ -z "$engine" ] && timeout 600 docker pull --quiet "$image" >/dev/null 2>&1; then
        say "$variable is $image, out of its registry"
    elif declare -F "make_$name" >/dev/null; then
        say "$image cannot be had"
        step "making an image of $name" "make_$name"
        image=sluicegate-test/$name
    else
        say "$image cannot be had, nor made here: $name is NOT tried out"
        image=
    fi
    export "$variable=$image"
}

# image NAME FOLDER: of the Dockerfile on stdin.
image() {
    docker build --quiet --tag "sluicegate-test/$1" --file - "$2" >/dev/null
}

# debian NAME PACKAGES: a small Debian with these packages, made once and kept.
debian() {
    docker image inspect "sluicegate-test/$1" >/dev/null 2>&1 && return
    need_packages debootstrap debian-archive-keyring ca-certificates
    local packed="$SLUICEGATE_CACHE/docker/$1.tar.gz" root
    if ! [ -f "$packed" ]; then
        mkdir -p "$SLUICEGATE_CACHE/docker"
        root=$(mktemp -d)
        as_root env PATH="$PATH:/usr/sbin:/sbin" debootstrap --variant=minbase --include="$2" \
            bookworm "$root" >"$packed.log" 2>&1 || { tail -n 15 "$packed.log" >&2; fail "debootstrap failed"; }
        as_root rm -rf "$root"/var/cache/apt "$root"/var/lib/apt/lists "$root"/usr/share/{doc,man,locale,info}
        as_root tar -C "$root" -c . | gzip -1 >"$packed.tmp"
        as_root rm -rf "$root"
        mv "$packed.tmp" "$packed"
    fi
    docker import "$packed" "sluicegate-test/$1" >/dev/null
}

# With what librdkafka is built with, as the official images of Rust have it.
make_debian() {
    debian debian-with-make gcc,g++,libc6-dev,make,pkg-config,libssl-dev,ca-certificates
}

# Debian's Node.js and npm, and what the pages are made of, for there may be no network inside.
make_node() {
    need_npm || fail "there is no npm here to fetch what the pages are made of"
    debian debian-with-npm nodejs,npm,ca-certificates
    local folder
    folder=$(mktemp -d)
    cp service/page/package.json service/page/package-lock.json "$folder"
    (cd "$folder" && npm ci --ignore-scripts --no-audit --no-fund --cache cache >/dev/null)
    image node "$folder" <<'DOCKERFILE'
FROM sluicegate-test/debian-with-npm
COPY cache /npm-cache
ENV npm_config_cache=/npm-cache npm_config_offline=true
DOCKERFILE
    rm -rf "$folder"
}

# This machine's toolchain, and the sources of all crates, for there may be no network inside.
make_rust() {
    need_cargo
    make_debian
    local folder sysroot
    sysroot=$(rustc --print sysroot)
    [ -x "$sysroot/bin/cargo" ] || fail "$sysroot has no cargo of its own: this needs a toolchain of rustup"
    folder=$(mktemp -d)
    tar -C "$sysroot" --exclude=./share/doc --exclude=./lib/rustlib/src -cf "$folder/toolchain.tar" .
    mkdir "$folder/cargo"
    cargo vendor --quiet --locked "$folder/cargo/vendor" >/dev/null
    cat >"$folder/cargo/config.toml" <<'CONFIG'
[source.crates-io]
replace-with = "vendored"
[source.vendored]
directory = "/usr/local/cargo/vendor"
CONFIG
    image rust "$folder" <<'DOCKERFILE'
FROM sluicegate-test/debian-with-make
ADD toolchain.tar /usr/local/
COPY cargo /usr/local/cargo
ENV CARGO_HOME=/usr/local/cargo CARGO_NET_OFFLINE=true
DOCKERFILE
    rm -rf "$folder"
}

# MySQL as install-mysql.sh gets it, behind an entry point that does what compose.yaml asks of the official one.
make_mysql() {
    scripts/install-mysql.sh
    local folder
    folder=$(mktemp -d)
    as_root tar -C "$SLUICEGATE_CACHE/mysql/root" --exclude=./usr/share/doc --exclude=./usr/share/man \
        --exclude=./usr/share/locale -c . >"$folder/root.tar"
    cp scripts/docker/mysql-entrypoint.sh "$folder"
    image mysql "$folder" <<'DOCKERFILE'
FROM scratch
ADD root.tar /
COPY mysql-entrypoint.sh /entrypoint.sh
RUN useradd --system --user-group --home-dir /var/lib/mysql --shell /usr/sbin/nologin mysql && \
    install -d -o mysql -g mysql /var/lib/mysql /var/lib/mysql-files /var/run/mysqld && \
    install -d /etc/mysql/conf.d /docker-entrypoint-initdb.d && \
    echo '!includedir /etc/mysql/conf.d/' >/etc/my.cnf
VOLUME /var/lib/mysql
EXPOSE 3306
ENTRYPOINT ["sh", "/entrypoint.sh"]
DOCKERFILE
    rm -rf "$folder"
}

# Prometheus of the distribution's package, laid out as the official image has it.
make_prometheus() {
    scripts/install-prometheus.sh
    make_debian
    image prometheus "$SLUICEGATE_CACHE/prometheus/bin" <<'DOCKERFILE'
FROM sluicegate-test/debian-with-make
COPY prometheus promtool /bin/
RUN install -d -o nobody -g nogroup /etc/prometheus /prometheus
USER nobody
VOLUME /prometheus
WORKDIR /prometheus
EXPOSE 9090
ENTRYPOINT ["/bin/prometheus"]
DOCKERFILE
}
