package bootentry

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func (m machine) symlink(target, name string) {
	m.t.Helper()
	if err := os.MkdirAll(filepath.Dir(m.path(name)), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.Symlink(target, m.path(name)); err != nil {
		m.t.Fatal(err)
	}
}

// What an entry can name, and be, other than a file of its partition.
func TestPaths(t *testing.T) {
	for _, c := range []struct {
		name string
		// put puts something at a name.
		put  func(t *testing.T, m machine, name string)
		want string
	}{
		{"symbolic link up", func(t *testing.T, m machine, name string) {
			m.kernels("secret")
			m.symlink(strings.Repeat("../", strings.Count(name, "/"))+"secret", name)
		}, "leads out of the boot partition"},
		{"absolute symbolic link", func(t *testing.T, m machine, name string) {
			m.kernels("boot/good")
			m.symlink(m.path("boot/good"), name)
		}, "leads out of the boot partition"},
		{"magic link", func(t *testing.T, m machine, name string) { m.symlink("/proc/self/exe", name) }, "leads out of the boot partition"},
		{"symbolic link to itself", func(t *testing.T, m machine, name string) { m.symlink(filepath.Base(name), name) }, "too many levels"},
		{"dangling symbolic link", func(t *testing.T, m machine, name string) { m.symlink("none", name) }, "no such file"},
		{"FIFO", func(t *testing.T, m machine, name string) {
			if err := unix.Mkfifo(m.path(name), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "is a FIFO"},
		{"socket", func(t *testing.T, m machine, name string) {
			// A socket's own path must be short.
			t.Chdir(filepath.Dir(m.path(name)))
			l, err := net.Listen("unix", filepath.Base(name))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
		}, "is a socket"},
		{"character device", func(t *testing.T, m machine, name string) { device(t, m.path(name), unix.S_IFCHR, 1, 5) }, "is a character device"},
		{"block device", func(t *testing.T, m machine, name string) { device(t, m.path(name), unix.S_IFBLK, 7, 0) }, "is a block device"},
		{"directory", func(t *testing.T, m machine, name string) {
			if err := os.Mkdir(m.path(name), 0o755); err != nil {
				t.Fatal(err)
			}
		}, "is a directory"},
		{"empty file", func(t *testing.T, m machine, name string) { m.write(name, "") }, "is empty"},
		{"another mount", func(t *testing.T, m machine, name string) {
			m.kernels("secret")
			m.write(name, "x")
			mount(t, m.path("secret"), m.path(name))
		}, "leads out of the boot partition"},
	} {
		for _, place := range []struct{ name, source string }{
			{"boot/linux", conf + "a.conf"},
			{"boot/initrd", conf + "a.conf"},
			{"boot/EFI/Linux/uki", conf + "uki.conf"},
			{conf + "b.conf", conf + "b.conf"},
			{"boot/EFI/Linux/b.efi", "boot/EFI/Linux/b.efi"},
			{"boot/EFI/Linux/good.efi.extra.d/b.addon.efi", "boot/EFI/Linux/good.efi.extra.d/b.addon.efi"},
			{"boot/loader/addons/b.addon.efi", "boot/loader/addons/b.addon.efi"},
			{"boot/vmlinuz-1", "boot/vmlinuz-1"},
		} {
			t.Run(c.name+" at "+place.name, func(t *testing.T) {
				m := newMachine(t)
				m.uki("boot/EFI/Linux/good.efi", ".linux=kernel")
				m.uki("boot/uki", ".linux=kernel")
				m.kernels("boot/linux", "boot/initrd", "boot/EFI/Linux/uki", "boot/EFI/Linux/good.efi.extra.d/x", "boot/loader/addons/x")
				m.write(conf+"a.conf", "linux /linux\ninitrd /initrd\n")
				m.write(conf+"uki.conf", "uki /EFI/Linux/uki\n")
				if err := os.RemoveAll(m.path(place.name)); err != nil {
					t.Fatal(err)
				}
				c.put(t, m, place.name)
				done := make(chan struct{})
				go func() {
					defer close(done)
					m.expectSkipped(place.source, c.want)
				}()
				select {
				case <-done:
				case <-time.After(10 * time.Second):
					t.Fatal("it hangs")
				}
			})
		}
	}
}

func device(t *testing.T, path string, kind uint32, major, minor uint32) {
	t.Helper()
	if err := unix.Mknod(path, kind|0o600, int(unix.Mkdev(major, minor))); err != nil {
		t.Skipf("only root may make a device: %v", err)
	}
}

func mount(t *testing.T, source, target string) {
	t.Helper()
	if err := unix.Mount(source, target, "", unix.MS_BIND, ""); err != nil {
		t.Skipf("only root may mount: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(target, unix.MNT_DETACH) })
}

// A directory in a path is under the same rules.
func TestDirectories(t *testing.T) {
	for _, c := range []struct{ dir, source, want string }{
		{"boot/loader", "boot/loader/entries", "leads out"},
		{"boot/loader/entries", "boot/loader/entries", "leads out"},
		{"boot/EFI/Linux", "boot/EFI/Linux", "leads out"},
		{"boot/EFI/Linux/good.efi.extra.d", "boot/EFI/Linux/good.efi.extra.d", "leads out"},
	} {
		t.Run(c.dir, func(t *testing.T) {
			m := newMachine(t)
			m.kernels("outside/entries/a.conf", "outside/a.efi", "outside/a.addon.efi")
			if filepath.Base(c.dir) == "good.efi.extra.d" {
				m.uki("boot/EFI/Linux/good.efi", ".linux=kernel")
			}
			m.symlink(m.path("outside"), c.dir)
			m.expectSkipped(c.source, c.want)
		})
	}
	t.Run("a FIFO", func(t *testing.T) {
		m := newMachine(t)
		m.kernels("boot/loader/x", "boot/EFI/x")
		for _, name := range []string{"boot/loader/entries", "boot/EFI/Linux"} {
			if err := unix.Mkfifo(m.path(name), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		m.expectIDs(m.clean())
	})
}

// A symbolic link that stays in the partition is fine.
func TestSymlinkInside(t *testing.T) {
	m := newMachine(t)
	m.kernels("boot/kernels/linux", "boot/entry")
	m.write("boot/entry", "linux /current/linux\n")
	m.symlink("kernels", "boot/current")
	m.symlink("../../entry", conf+"a.conf")
	e := m.one()
	m.expectPaths([]string{e.Source, e.Kernel}, conf+"a.conf", "boot/current/linux")
}

// A partition below /boot is one of its own, and where /boot is mounted, nothing
// of it lies in a directory of that name.
func TestMounts(t *testing.T) {
	m := newMachine(t)
	m.kernels("one/linux", "one/efi/x", "two/linux", "boot/x")
	m.write("one/loader/entries/one.conf", "linux /linux\n")
	m.write("one/loader/entries/root.conf", "linux /boot/linux\n")
	m.write("two/loader/entries/two.conf", "linux /linux\n")
	mount(t, m.path("one"), m.path("boot"))
	mount(t, m.path("two"), m.path("boot/efi"))
	entries := m.expectSkipped(conf+"root.conf", "no such file")
	m.expectIDs(entries, "two.conf", "one.conf")
	m.expectPaths([]string{entries[0].Kernel, entries[1].Kernel}, "boot/efi/linux", "boot/linux")
}

func TestNoPartition(t *testing.T) {
	m := newMachine(t)
	m.expectIDs(m.clean())
	m.write("boot", "a file")
	m.expectIDs(m.clean())
}

func TestUnreadablePartition(t *testing.T) {
	m := newMachine(t)
	m.symlink("boot", "boot")
	if _, _, err := m.system().Find(); err == nil || !strings.Contains(err.Error(), "look for boot entries") {
		t.Errorf("the only one: %v", err)
	}
	m.kernels("efi/linux")
	m.write("efi/loader/entries/a.conf", "linux /linux\n")
	m.expectIDs(m.expectSkipped("boot", "too many levels"), "a.conf")
}

func TestNothingLeaks(t *testing.T) {
	m := newMachine(t)
	m.kernels("boot/vmlinuz-1", "boot/initrd.img-1", "usr/lib/modules/2/vmlinuz", "usr/lib/modules/2/pkgbase", "boot/EFI/Linux/bad.efi")
	m.write("boot/grub/grubenv", "a=b\n")
	m.write("boot/loader/loader.conf", "default a*\n")
	m.uki("boot/EFI/Linux/good.efi", ".linux=kernel", ".profile=ID=a", ".profile=ID=b")
	m.uki("boot/EFI/Linux/good.efi.extra.d/a.addon.efi", ".cmdline=a")
	m.write("boot/loader/addons/bad.addon.efi", "bad")
	m.write(conf+"a.conf", "linux /vmlinuz-1\n")
	m.write(conf+"bad.conf", "linux /loader\n")
	m.write(conf+"out.conf", "linux /out\n")
	m.symlink("/", "boot/out")
	m.variable("LoaderEntryOneShot", "none")
	m.find()
	before := descriptors(t)
	for range 20 {
		m.find()
	}
	if after := descriptors(t); after != before {
		t.Errorf("%d descriptors were open, and now %d are", before, after)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}
