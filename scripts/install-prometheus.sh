#!/usr/bin/env bash
# Puts Prometheus and promtool into the cache directory, out of the distribution's package. The package itself is not
# installed, because it would start a server. Prints nothing when it is there.
#
#   CACHE/prometheus/bin/prometheus, promtool

. "$(dirname "$0")/lib.sh"

target="$SLUICEGATE_CACHE/prometheus"

install_prometheus() {
    local unfinished="$target.tmp"
    command -v apt-get >/dev/null || fail "there is no apt-get here: put prometheus and promtool into $target/bin"
    rm -rf "$unfinished"
    mkdir -p "$unfinished/bin"
    update_package_lists
    # apt's own user cannot write everywhere, and says so at length.
    (cd "$unfinished" && apt-get download -qq prometheus 2>/dev/null) || fail "the package prometheus cannot be had"
    dpkg-deb --extract "$unfinished"/prometheus_*.deb "$unfinished/root"
    cp "$unfinished"/root/usr/bin/{prometheus,promtool} "$unfinished/bin"
    rm -rf "$unfinished/root" "$unfinished"/prometheus_*.deb
    "$unfinished/bin/promtool" --version >/dev/null || fail "the new promtool does not run"
    rm -rf "$target"
    mv "$unfinished" "$target"
}

mkdir -p "$SLUICEGATE_CACHE"
exec {lock}>"$target.lock"
flock "$lock" || fail "cannot lock $target.lock" # one installation at a time
if ! [ -x "$target/bin/promtool" ]; then
    step "getting Prometheus into $target" install_prometheus
fi
