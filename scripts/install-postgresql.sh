#!/usr/bin/env bash
# Puts PostgreSQL and TimescaleDB of Debian unstable, beside which the benchmark measures, into the cache directory. Prints
# nothing when they are there.
#
#   CACHE/postgresql/root            Debian unstable with PostgreSQL
#   CACHE/postgresql/bin/postgres    runs it as it is, without chroot; likewise initdb and psql
#   CACHE/postgresql/timescaledb     is there if TimescaleDB is
#
# Ends with status 69, and says why, where there is no package of PostgreSQL. Where there is none of TimescaleDB it says so, and
# does without. The next run after `rm -rf CACHE/postgresql` (as root) gets them anew.

. "$(dirname "$0")/lib.sh"

UNAVAILABLE=69

target="$SLUICEGATE_CACHE/postgresql"
unfinished="$target.tmp"

unavailable() {
    say "PostgreSQL cannot be had: $*" >&2
    lib_step=
    exit $UNAVAILABLE
}

in_root() {
    as_root env PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot "$unfinished/root" "$@"
}

# The newest version whose server is there and, if there is one, whose TimescaleDB is.
choose_version() {
    local servers with_timescaledb
    servers=$(in_root apt-cache pkgnames postgresql- | sed -nE 's/^postgresql-([0-9]+)$/\1/p' | sort -n)
    with_timescaledb=$(in_root apt-cache pkgnames postgresql- | sed -nE 's/^postgresql-([0-9]+)-timescaledb$/\1/p' | sort -n)
    version=$(comm -12 <(sort <<<"$servers") <(sort <<<"$with_timescaledb") | sort -n | tail -n 1)
    packages=("postgresql-$version" "postgresql-$version-timescaledb")
    if [ -z "$version" ]; then
        version=$(tail -n 1 <<<"$servers")
        packages=("postgresql-$version")
    fi
}

# Unpacked, not installed: scripts of the packages would make a cluster and start it.
unpack() {
    local archives=/var/cache/apt/archives
    as_root rm -rf "$unfinished/root$archives"
    in_root mkdir -p "$archives/partial"
    in_root apt-get install -y -qq --no-install-recommends --download-only "$@" >"$unfinished/apt.log" 2>&1 ||
        { tail -n 15 "$unfinished/apt.log" >&2; unavailable "apt-get failed; its log is $unfinished/apt.log"; }
    # shellcheck disable=SC2016 # the shell in the root expands it
    in_root sh -c 'for archive in "$0"/*.deb; do dpkg-deb --extract "$archive" / || exit 1; done' "$archives"
    as_root rm -rf "$unfinished/root$archives" "$unfinished/root/var/lib/apt/lists"
}

# initdb starts the server that lies beside it.
write_wrappers() {
    local programs=usr/lib/postgresql/$version/bin
    as_root mv "$unfinished/root/$programs/postgres" "$unfinished/root/$programs/postgres.program"
    as_root ln -s ../../../../../../bin/postgres "$unfinished/root/$programs/postgres"
    write_wrapper postgres "$programs/postgres.program" '' "$unfinished"
    write_wrapper initdb "$programs/initdb" '' "$unfinished"
    write_wrapper psql "$programs/psql" '' "$unfinished"
}

install_postgresql() {
    # In a shell of its own: a failure is no end here.
    (get_sid "$unfinished" "") || unavailable "there is no Debian unstable to take it from"
    choose_version
    [ -n "$version" ] || unavailable "Debian unstable has no package of it"
    unpack "${packages[@]}"
    write_wrappers
    "$unfinished/bin/postgres" --version >/dev/null || fail "the new postgres does not run"
    "$unfinished/bin/psql" --version >/dev/null || fail "the new psql does not run"
    if [ ${#packages[@]} -gt 1 ]; then
        touch "$unfinished/timescaledb"
    else
        say "Debian unstable has no TimescaleDB for a PostgreSQL: it is NOT measured" >&2
    fi
    as_root rm -rf "$target"
    mv "$unfinished" "$target"
}

mkdir -p "$SLUICEGATE_CACHE"
exec {lock}>"$target.lock"
flock "$lock" || fail "cannot lock $target.lock" # one installation at a time
if ! [ -x "$target/bin/psql" ]; then
    step "getting PostgreSQL into $target" install_postgresql
elif ! [ -e "$target/timescaledb" ]; then
    say "there is no TimescaleDB in $target: it is NOT measured" >&2
fi
