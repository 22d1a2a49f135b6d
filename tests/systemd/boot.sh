#!/bin/bash
# boot.sh PLACE: a real systemd as process 1 of namespaces of its own, over a throw-away copy of /.
#
# Needs root, overlayfs and the unified hierarchy of control groups.  PLACE/pid is the init once it runs
# systemd, PLACE/cgroup its control group; killing the init ends all there is.  No network but lo.
set -euo pipefail
PLACE=$(realpath "$1"); export PLACE
mkdir "$PLACE/root" "$PLACE/scratch"

unified=/sys/fs/cgroup/unified
[ -e $unified/cgroup.procs ] || unified=/sys/fs/cgroup
group=$unified/rlmd-test-$$
mkdir "$group"
echo "$group" > "$PLACE/cgroup"
echo $$ > "$group/cgroup.procs"  # the new control group namespace has it as its root

unshare --mount --pid --fork --cgroup --uts --ipc --net --propagation private bash -euo pipefail -c '
  root=$PLACE/root
  # The upper layer must not lie on what it covers, hence the tmpfs.
  mount -t tmpfs -o size=2g tmpfs "$PLACE/scratch"
  mkdir "$PLACE/scratch/upper" "$PLACE/scratch/work"
  mount -t overlay -o "lowerdir=/,upperdir=$PLACE/scratch/upper,workdir=$PLACE/scratch/work" overlay "$root"
  mount -t proc proc "$root/proc"
  for directory in run tmp dev; do mount -t tmpfs -o mode=755 tmpfs "$root/$directory"; done
  chmod 1777 "$root/tmp"
  mount -t sysfs -o ro sysfs "$root/sys"
  mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
  for device in null zero full random urandom tty; do
    : > "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
  done
  mkdir "$root/dev/pts" "$root/dev/shm"
  mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
  mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
  ln -s pts/ptmx "$root/dev/ptmx"
  ln -s /proc/self/fd "$root/dev/fd"
  mkdir -p "$root/oldroot" "$root/var/log/journal"
  echo 5d0f3b6ac0de4a1e9a2b3c4d5e6f7a8b > "$root/etc/machine-id"  # without one the first boot never ends
  for unit in systemd-firstboot.service systemd-update-utmp.service systemd-tmpfiles-clean.timer \
      systemd-hwdb-update.service systemd-sysusers.service ldconfig.service apt-daily.timer \
      apt-daily-upgrade.timer dpkg-db-backup.timer; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
  done
  hostname rlmd-test
  ip link set lo up || true
  . "$PLACE/prepare.sh"
  cd "$root"
  pivot_root . oldroot
  umount -l /oldroot
  mount --make-rshared /  # else services do not see their credentials
  exec env -i container=unshare PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --unit=basic.target --log-target=journal-or-kmsg \
    </dev/null >/dev/null 2>&1
' &

for _ in $(seq 400); do
  init=$(pgrep -P $! | head -1 || true)
  [ -n "$init" ] && [ "$(cat "/proc/$init/comm" 2>/dev/null)" = systemd ] && break
  sleep 0.05
done
echo "$init" > "$PLACE/pid.part"
mv "$PLACE/pid.part" "$PLACE/pid"
wait $! || true
