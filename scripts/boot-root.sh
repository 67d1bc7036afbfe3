#!/usr/bin/env bash
# Boots the system in FOLDER with its own systemd: in namespaces of its own, with no network but a loopback.
# It ends with the process that runs this, which prints nothing.
#
#   scripts/boot-root.sh FOLDER CGROUP     CGROUP is an empty group of the unified hierarchy

set -euo pipefail

root=$1
echo $$ >"$2/cgroup.procs"
exec unshare --mount --propagation private --pid --fork --kill-child --uts --ipc --net --cgroup \
    bash -c '
set -euo pipefail
ip link set lo up
mount --bind "$0" "$0"
cd "$0"
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=755 tmpfs dev
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
mount -t tmpfs tmpfs dev/shm
mknod -m 666 dev/null c 1 3
mknod -m 666 dev/zero c 1 5
mknod -m 666 dev/full c 1 7
mknod -m 666 dev/random c 1 8
mknod -m 666 dev/urandom c 1 9
mknod -m 666 dev/tty c 5 0
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ln -s /proc/self/fd/0 dev/stdin
ln -s /proc/self/fd/1 dev/stdout
ln -s /proc/self/fd/2 dev/stderr
mkdir -p mnt
pivot_root . mnt
exec /usr/bin/env -i container=sluicegate-test PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /bin/sh -c "umount -l /mnt; exec /lib/systemd/systemd --log-target=journal --show-status=false"
' "$root" </dev/null >/dev/null 2>&1
