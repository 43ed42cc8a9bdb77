package bootentry

import (
	"os"
	"strings"
	"testing"
)

func TestDebian(t *testing.T) {
	m := newMachine(t)
	m.kernels("boot/vmlinuz-6.1.0-30-amd64", "boot/initrd.img-6.1.0-30-amd64", "boot/vmlinuz-6.12.9+bpo-amd64", "boot/initrd.img-6.12.9+bpo-amd64",
		"boot/config-6.1.0-30-amd64", "boot/System.map-6.1.0-30-amd64", "boot/grub/grub.cfg",
		"boot/vmlinuz-6.1.0-29-amd64.old", "boot/vmlinuz-6.1.0-29-amd64.bak", "boot/vmlinuz-6.1.0-29-amd64.dpkg-bak", "boot/vmlinuz-6.1.0-29-amd64.dpkg-new",
		"boot/vmlinuz", "boot/vmlinuz-", "boot/vmlinux-6.13", "boot/Image-6.13", "usr/lib/modules/6.1.0-30-amd64/modules.dep")
	m.symlink("vmlinuz-6.1.0-30-amd64", "boot/vmlinuz.old")
	entries := m.clean()
	m.expectIDs(entries, "vmlinuz-6.12.9+bpo-amd64", "vmlinuz-6.1.0-30-amd64")
	e := entries[0]
	if e.Kind != Plain || e.Version != "6.12.9+bpo-amd64" || e.CommandLine != "" || !e.Default || e.TriesLeft != -1 || e.TriesDone != -1 {
		t.Errorf("got %+v", e)
	}
	m.expectPaths([]string{e.Source, e.Kernel}, "boot/vmlinuz-6.12.9+bpo-amd64", "boot/vmlinuz-6.12.9+bpo-amd64")
	m.expectPaths(e.Initrds, "boot/initrd.img-6.12.9+bpo-amd64")
}

func TestFedora(t *testing.T) {
	const version = "6.12.5-200.fc41.x86_64"
	m := newMachine(t)
	m.kernels("boot/vmlinuz-"+version, "boot/initramfs-"+version+".img", "boot/.vmlinuz-"+version+".hmac",
		"boot/vmlinuz-0-rescue-"+ownID, "boot/initramfs-0-rescue-"+ownID+".img", "boot/vmlinuz-6.11.0", "boot/initramfs-6.11.0",
		"usr/lib/modules/"+version+"/vmlinuz", "usr/lib/modules/6.11.0/vmlinuz", "usr/lib/modules/6.10.0/vmlinuz")
	m.write("boot/grub2/grubenv", "# GRUB Environment Block\nsaved_entry="+ownID+"-"+version+"\nkernelopts=root=/dev/sda3 ro\n####")
	m.write(conf+ownID+"-"+version+".conf", "title Fedora Linux ("+version+") 41\nversion "+version+"\nlinux /vmlinuz-"+version+
		"\ninitrd /initramfs-"+version+".img $tuned_initrd\noptions $kernelopts $tuned_params\ngrub_users $grub_users\ngrub_arg --unrestricted\ngrub_class fedora\n")
	m.write(conf+ownID+"-0-rescue.conf", "version 0-rescue-"+ownID+"\nlinux /vmlinuz-0-rescue-"+ownID+"\ninitrd /initramfs-0-rescue-"+ownID+".img\noptions $kernelopts\n")
	entries := m.clean()
	m.expectIDs(entries, ownID+"-"+version+".conf", ownID+"-0-rescue.conf", "vmlinuz-6.11.0", "vmlinuz-6.10.0")
	if e := entries[0]; !e.Default || e.CommandLine != "root=/dev/sda3 ro" {
		t.Errorf("got %+v", e)
	}
	m.expectPaths(entries[0].Initrds, "boot/initramfs-"+version+".img")
	m.expectPaths(entries[2].Initrds, "boot/initramfs-6.11.0")
	m.expectPaths([]string{entries[3].Kernel}, "usr/lib/modules/6.10.0/vmlinuz")

	if err := os.RemoveAll(m.path("boot/loader")); err != nil {
		t.Fatal(err)
	}
	entries = m.clean()
	m.expectIDs(entries, "vmlinuz-"+version, "vmlinuz-6.11.0", "vmlinuz-6.10.0", "vmlinuz-0-rescue-"+ownID)
	if !entries[0].Default {
		t.Errorf("the default is %s", defaultOf(entries))
	}
}

func TestArch(t *testing.T) {
	m := newMachine(t)
	m.kernels("boot/vmlinuz-linux", "boot/initramfs-linux.img", "boot/initramfs-linux-fallback.img", "boot/vmlinuz-linux-lts", "boot/initramfs-linux-lts.img",
		"boot/amd-ucode.img", "boot/intel-ucode.img", "usr/lib/modules/6.12.1-arch1-1/vmlinuz", "usr/lib/modules/6.6.60-1-lts/vmlinuz")
	m.write("usr/lib/modules/6.12.1-arch1-1/pkgbase", "linux\n")
	m.write("usr/lib/modules/6.6.60-1-lts/pkgbase", "linux-lts\n")
	entries := m.clean()
	m.expectIDs(entries, "vmlinuz-linux-lts", "vmlinuz-linux")
	m.expectPaths(entries[1].Initrds, "boot/amd-ucode.img", "boot/intel-ucode.img", "boot/initramfs-linux.img")
	m.write(conf+"arch-fallback.conf", "sort-key a\nlinux /vmlinuz-linux\ninitrd /amd-ucode.img\ninitrd /initramfs-linux-fallback.img\n")
	m.write(conf+"arch.conf", "sort-key b\nlinux /vmlinuz-linux\ninitrd /initramfs-linux.img\n")
	entries = m.clean()
	m.expectIDs(entries, "arch-fallback.conf", "arch.conf", "vmlinuz-linux-lts")
	if got := defaultOf(entries); got != "arch.conf" {
		t.Errorf("the default is %s", got)
	}
}

// openSUSE has the image in /usr/lib/modules, and a link in /boot.
func TestLinkedImage(t *testing.T) {
	m := newMachine(t)
	m.kernels("usr/lib/modules/6.12/vmlinuz", "boot/initrd-6.12")
	m.symlink("../usr/lib/modules/6.12/vmlinuz", "boot/vmlinuz-6.12")
	entries := m.expectSkipped("boot/vmlinuz-6.12", "leads out")
	m.expectIDs(entries, "vmlinuz-6.12")
	m.expectPaths(entries[0].Initrds, "boot/initrd-6.12")
	if !entries[0].Default {
		t.Error("it isn't the default")
	}
}

// A kernel in /usr/lib/modules whose release a unified kernel image has is that
// one; one without /boot has no initrd.
func TestModules(t *testing.T) {
	m := newMachine(t)
	m.kernels("usr/lib/modules/6.12/vmlinuz", "usr/lib/modules/6.13/vmlinuz", "usr/lib/modules/file")
	m.uki("efi/EFI/Linux/a.efi", ".linux=k", ".osrel=ID=x\nVERSION_ID=1\n", ".uname=6.12")
	m.expectIDs(m.clean(), "a.efi", "vmlinuz-6.13")
	m.write("usr/lib/modules/6.14/vmlinuz", "")
	m.expectSkipped("usr/lib/modules/6.14/vmlinuz", "is empty")
}

// An initrd that can't be used is no reason to go without.
func TestPlainInitrd(t *testing.T) {
	m := newMachine(t)
	m.kernels("boot/vmlinuz-2", "boot/vmlinuz-1", "boot/initrd.img-1")
	m.write("boot/initrd.img-2", "")
	entries := m.expectSkipped("boot/vmlinuz-2", "find the initrd")
	m.expectIDs(entries, "vmlinuz-1")
	m.write("boot/intel-ucode.img", "")
	m.expectIDs(m.expectSkipped("boot/vmlinuz-1", "intel-ucode.img is empty"))
}

func TestPlainARM64(t *testing.T) {
	m := newMachine(t)
	m.kernels("boot/Image-6.12", "boot/initrd.img-6.12", "boot/vmlinuz-6.11", "boot/vmlinux-6.13")
	s := m.system()
	s.Architecture = "arm64"
	entries, skipped, err := s.Find()
	if err != nil || len(skipped) > 0 {
		t.Fatal(skipped, err)
	}
	m.expectIDs(entries, "Image-6.12", "vmlinuz-6.11")
	if e := entries[0]; e.Version != "6.12" || len(e.Initrds) != 1 {
		t.Errorf("got %+v", e)
	}
}

// The zero value is this machine.
func TestThisMachine(t *testing.T) {
	entries, skipped, err := System{}.Find()
	if err != nil && !strings.Contains(err.Error(), "look for boot entries") {
		t.Error(err)
	}
	for _, e := range entries {
		t.Log(e.ID, e.Kernel)
	}
	t.Log(skipped)
}
