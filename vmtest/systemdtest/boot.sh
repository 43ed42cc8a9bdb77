# Makes a root of TREE with FILES over it, and becomes its PID 1. It runs in new namespaces, all but the cgroup's, and in the cgroup that
# shall be the root. OUT is a mount point to work on; KMSG is a FIFO for what is logged. OUTSIDE, if not empty, is a directory to share, of
# a system whose kernel is a fake with the command line LINE.
set -eu
mount --make-rprivate /
mount -t tmpfs tmpfs "$OUT"
mkdir "$OUT/upper" "$OUT/work" "$OUT/root"
root=$OUT/root
mount -t overlay overlay -o "lowerdir=$FILES:$TREE,upperdir=$OUT/upper,workdir=$OUT/work" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=0755 tmpfs "$root/dev"
mkdir "$root/dev/pts" "$root/dev/shm"
for device in null zero full random urandom tty; do
	touch "$root/dev/$device"
	mount --bind "/dev/$device" "$root/dev/$device"
done
touch "$root/dev/kmsg"
mount --bind "$KMSG" "$root/dev/kmsg"
mount -t tmpfs -o mode=0755 tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
# Each boot has an ID of its own, as with a kernel of its own.
cat /proc/sys/kernel/random/uuid >"$OUT/boot_id"
mount --bind "$OUT/boot_id" "$root/proc/sys/kernel/random/boot_id"
if [ -n "$OUTSIDE" ]; then
	# Below /dev, which a shutdown doesn't unmount.
	mkdir "$root/dev/outside"
	mount --bind "$OUTSIDE" "$root/dev/outside"
	printf '%s\n' "$LINE" >"$OUT/cmdline"
	mount --bind "$OUT/cmdline" "$root/proc/cmdline"
	# This machine's kernel may know no kexec.
	mount -t tmpfs tmpfs "$root/sys/kernel"
	echo 0 >"$root/sys/kernel/kexec_loaded"
fi
# Generators look at disks and consoles, which aren't this system's.
mount -t tmpfs tmpfs "$root/usr/lib/systemd/system-generators"
if [ -e "$root/usr/lib/sysusers.d/luod.conf" ]; then # luod is there without its package
	chroot "$root" systemd-sysusers luod.conf
fi
cd "$root"
pivot_root . .
umount -l .
exec env -i container=luod-test PATH=/usr/sbin:/usr/bin /usr/lib/systemd/systemd --system --log-target=kmsg --show-status=no </dev/null
