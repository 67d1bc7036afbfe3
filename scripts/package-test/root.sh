# A fresh Debian, and its systemd in namespaces of its own. Sourced by ../test-package.sh.
# shellcheck shell=bash disable=SC2154 # work, root and packages are that script's

# The suite and the mirror of this machine, so that what its apt can reach is reached.
make_root() {
    local suite mirror
    suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
    mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' "Codename: $suite" | head -n 1)
    [ -n "$mirror" ] || fail "apt knows no mirror of $suite: nothing to make a root from"
    mkdir -p "$SLUICEGATE_CACHE/debootstrap"
    debootstrap --variant=minbase --cache-dir="$SLUICEGATE_CACHE/debootstrap" \
        --include=systemd-sysv,dbus,iproute2 "$suite" "$root" "$mirror" >"$work/debootstrap.log" 2>&1 ||
        fail "debootstrap: $(tail -n 5 "$work/debootstrap.log")"
    apt-config dump | grep -E '^Acquire::(http|https|Check)' >"$root/etc/apt/apt.conf.d/10host" || true
    echo gate-of-the-test >"$root/etc/hostname"
    echo 127.0.0.1 localhost gate-of-the-test >"$root/etc/hosts"
    mkdir "$root/root/packages"
    cp "$packages"/*.deb "$root/root/packages/"
    # What the newcomer's command fetches is fetched now: the system that boots has no network.
    chroot "$root" apt-get update -qq
    chroot "$root" sh -c 'cd /root/packages && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --download-only \
        ./sluicegate_*.deb ./sluicegen_*.deb mariadb-server curl man-db bash-completion' >/dev/null
}

boot() {
    local unified
    unified=$(findmnt --noheadings --types cgroup2 --output TARGET | head -n 1)
    if [ -z "$unified" ]; then
        unified=$work/cgroup
        mkdir "$unified"
        mount -t cgroup2 cgroup2 "$unified"
    fi
    group=$unified/sluicegate-package-$$
    mkdir "$group"
    scripts/boot-root.sh "$root" "$group" &
    booting=$!
    local _ state=
    for _ in $(seq 300); do
        init=$(cat "/proc/$booting/task/$booting/children" 2>/dev/null || true)
        init=${init%% *}
        if [ -n "$init" ]; then
            state=$(inside systemctl is-system-running 2>/dev/null || true)
            case $state in running | degraded) return ;; esac
        fi
        kill -0 "$booting" 2>/dev/null || fail "systemd does not boot in a namespace here"
        sleep 0.2
    done
    fail "systemd is ${state:-not there} after a minute: $(inside systemctl list-jobs --no-pager 2>&1 | head -n 5)"
}

# Runs a command in the system, as its root would in a terminal.
inside() {
    nsenter --target "$init" --mount --uts --ipc --net --pid --cgroup --root --wd -- \
        env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 \
        DEBIAN_FRONTEND=noninteractive timeout 300 "$@"
}

shut_down() {
    if [ -n "${booting:-}" ]; then
        kill -KILL "$booting" 2>/dev/null
        wait "$booting" 2>/dev/null
        local _
        # Groups are empty a moment after their processes are gone.
        for _ in $(seq 50); do
            find "$group" -depth -type d -exec rmdir {} + 2>/dev/null
            [ -d "$group" ] || break
            sleep 0.1
        done
    fi
    if mountpoint --quiet "$work/cgroup"; then
        umount "$work/cgroup"
    fi
}

# What the system says, for whoever has to find out.
show_trouble() {
    [ -n "${init:-}" ] || return 0
    {
        inside systemctl status --no-pager --lines 0 sluicegate sluicegen mariadb
        inside journalctl --no-pager --lines 60
    } >&2 2>&1
}

# holds WHAT COMMAND...: fails unless the command, a check, succeeds.
holds() {
    local what=$1
    shift
    "$@" || fail "not so: $what"
}

# until_so SECONDS WHAT COMMAND...: waits for a check to succeed.
until_so() {
    local limit_s=$1 what=$2 begun_s=$SECONDS
    shift 2
    until "$@"; do
        [ $((SECONDS - begun_s)) -lt "$limit_s" ] || fail "waited $limit_s s in vain: $what"
        sleep 0.3
    done
}

# is VALUE EXPECTED
is() {
    [ "$1" = "$2" ] || fail "$1, but expected $2"
}

# has TEXT PART...: each part stands in the text.
has() {
    local text=$1 part
    shift
    for part in "$@"; do
        [[ $text == *"$part"* ]] || fail "no \"$part\" in: $text"
    done
}
