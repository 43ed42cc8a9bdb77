# Makes dracut's initial RAM disks for the lab's kernels, in the chroot of a root filesystem that has the kernels in /boot.
set -eu

# dracut has a shutdown return into the initrd only where something in there asks for it, as LVM, RAID and encrypted disks
# do. The lab's disk is none of these, so this module asks.
lab=/usr/lib/dracut/modules.d/99lab
mkdir "$lab"
cat > "$lab/module-setup.sh" <<'END'
#!/bin/bash
depends() { echo shutdown; }
install() { inst_hook pre-pivot 50 "$moddir/need-shutdown.sh"; }
END
printf '#!/bin/sh\nneed_shutdown\n' > "$lab/need-shutdown.sh"
chmod 0755 "$lab"/*.sh

for release in "$1" "$2"; do
	# All is built in, but there must be a directory.
	mkdir -p "/usr/lib/modules/$release"
	for list in order builtin builtin.modinfo; do : > "/usr/lib/modules/$release/modules.$list"; done
	depmod "$release"
	dracut --force --no-hostonly --no-kernel --zstd -m 'dracut-systemd systemd systemd-initrd base shutdown rootfs-block fs-lib lab' \
		"/boot/initrd.img-$release" "$release"
done
