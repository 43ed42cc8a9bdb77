# Makes what the machines with boot entries have in /boot, in the chroot of a root filesystem that has the kernels there.
set -eu
older=$1 newer=$2 options=$3
stock=$(ls /usr/lib/modules) # the only one that comes with modules

# The lab's kernels have all built in, but mkinitramfs wants a modules directory.
mkdir "/usr/lib/modules/$newer"
for list in order builtin builtin.modinfo; do : > "/usr/lib/modules/$newer/modules.$list"; done

for release in "$newer" "$stock"; do
	depmod "$release"
	mkinitramfs -o "/boot/initrd.img-$release" "$release"
done

mkdir -p /boot/loader/entries /boot/EFI/Linux
cat > /boot/loader/entries/lab-newer.conf <<END
title      The lab's newer kernel
version    $newer
sort-key   lab
linux      /vmlinuz-$newer
initrd     /initrd.img-$newer
options    $options
END

uki() { # NAME RELEASE MORE...
	name=$1 release=$2
	shift 2
	ukify build --linux="/boot/vmlinuz-$release" --cmdline="$options" --os-release=@/etc/os-release --uname="$release" \
		--output="/boot/EFI/Linux/$name.efi" "$@"
}
uki lab-older "$older"
uki lab-newer "$newer" --initrd="/boot/initrd.img-$newer"
