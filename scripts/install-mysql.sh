#!/usr/bin/env bash
# Puts MySQL, which Debian stable and its images lack, into the cache directory. Prints nothing when it is there.
#
#   CACHE/mysql/root          Debian unstable with mysqld and its libraries
#   CACHE/mysql/bin/mysqld    runs it as it is, without chroot; likewise mysql and mysqlimport, the clients
#
# The next run after `rm -rf CACHE/mysql` (as root) gets it anew.

. "$(dirname "$0")/lib.sh"

target="$SLUICEGATE_CACHE/mysql"

install_mysql() {
    local unfinished="$target.tmp"
    get_sid "$unfinished" mysql-server-core,mysql-client-core
    as_root rm -rf "$unfinished/root/var/cache/apt" "$unfinished/root/var/lib/apt/lists"
    # Paths come last: --no-defaults has to stay the first argument.
    # shellcheck disable=SC2016 # the wrapper expands it
    write_wrapper mysqld usr/sbin/mysqld ' --basedir="$root/usr" --lc-messages-dir="$root/usr/share/mysql"' "$unfinished"
    write_wrapper mysql usr/bin/mysql '' "$unfinished"
    write_wrapper mysqlimport usr/bin/mysqlimport '' "$unfinished"
    "$unfinished/bin/mysqld" --no-defaults --version >/dev/null || fail "the new mysqld does not run"
    "$unfinished/bin/mysql" --no-defaults --version >/dev/null || fail "the new mysql does not run"
    as_root rm -rf "$target"
    mv "$unfinished" "$target"
}

mkdir -p "$SLUICEGATE_CACHE"
exec {lock}>"$target.lock"
flock "$lock" || fail "cannot lock $target.lock" # one installation at a time
if ! [ -x "$target/bin/mysqlimport" ]; then
    step "getting MySQL into $target" install_mysql
fi
