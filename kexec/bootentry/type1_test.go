package bootentry

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/liveupdate/luod/kexec/grubenv"
)

const conf = "boot/loader/entries/"

func TestType1(t *testing.T) {
	m := newMachine(t)
	m.kernels("boot/ID/6.12/linux", "boot/ID/6.12/initrd", "boot/ucode.img")
	m.write(conf+"debian-6.12+2-1.conf", strings.ReplaceAll(`# kernel-install
title      Debian GNU/Linux 13 (trixie)
version    6.12
machine-id `+ownID+`
sort-key   debian
architecture X64
unknown    thing
options    root=UUID=1 dyndbg="file  a +p"
options    quiet
linux      /ID/6.12/linux
initrd     ucode.img
initrd	//ID/./6.12/initrd
devicetree /no/such.dtb
`, "\n", "\r\n"))
	e := m.one()
	if e.ID != "debian-6.12.conf" || e.Kind != Type1 || e.Title != "Debian GNU/Linux 13 (trixie)" || e.Version != "6.12" || e.SortKey != "debian" ||
		e.MachineID != ownID || e.Architecture != "amd64" || e.TriesLeft != 2 || e.TriesDone != 1 || !e.Default ||
		e.CommandLine != `root=UUID=1 dyndbg="file  a +p" quiet` {
		t.Errorf("got %+v", e)
	}
	m.expectPaths([]string{e.Source, e.Kernel}, conf+"debian-6.12+2-1.conf", "boot/ID/6.12/linux")
	m.expectPaths(e.Initrds, "boot/ucode.img", "boot/ID/6.12/initrd")
}

func TestType1OtherPartitions(t *testing.T) {
	m := newMachine(t)
	for _, p := range []string{"efi", "boot", "boot/efi"} {
		m.kernels(p + "/linux")
		m.write(p+"/loader/entries/"+strings.ReplaceAll(p, "/", "-")+".conf", "linux /linux\n")
	}
	for _, e := range m.clean() {
		if want := m.path(strings.ReplaceAll(strings.TrimSuffix(e.ID, ".conf"), "-", "/") + "/linux"); e.Kernel != want {
			t.Errorf("%s: %s, want %s", e.ID, e.Kernel, want)
		}
	}
}

// One partition in two places is one.
func TestType1PartitionTwice(t *testing.T) {
	m := newMachine(t)
	m.kernels("boot/vmlinuz-1")
	m.write(conf+"a.conf", "linux /vmlinuz-1\n")
	m.symlink("boot", "efi")
	m.expectIDs(m.clean(), "a.conf")
}

func TestType1Skipped(t *testing.T) {
	long := strings.Repeat("x", 17<<10)
	for _, c := range []struct{ name, text, want string }{
		{"no kernel", "title a\n", "names no kernel"},
		{"efi program", "efi /EFI/a.efi\n", "EFI program (efi)"},
		{"URL", "uki-url http://host/a.efi\n", "EFI program (uki-url)"},
		{"other architecture", "linux /linux\narchitecture aa64\n", "architecture aa64"},
		{"unknown architecture", "linux /linux\narchitecture 9\n", "architecture 9"},
		{"kernel missing", "linux /none\n", "no such file"},
		{"initrd missing", "linux /linux\ninitrd /none\n", "find its initrd"},
		{"second initrd missing", "linux /linux\ninitrd /linux /none\n", "find its initrd"},
		{"many initrds", "linux /linux\n" + strings.Repeat("initrd /linux\n", 65), "65 initrds"},
		{"NUL", "linux /linux\x00\n", "NUL"},
		{"long line", "linux /linux\noptions " + long + "\n", "line of over"},
		{"large", "linux /linux\n" + strings.Repeat("# comment\n", 7000), "over 65536 bytes"},
		{"empty", "", "is empty"},
		{"path up", "linux /../boot/linux\n", `".."`},
		{"path of slashes", "linux ///\n", "names no file"},
		{"path of a directory", "linux /linux/\n", "names no file"},
		{"a path too long", "linux /" + strings.Repeat("a", 5000) + "\n", "name too long"},
		{"uki is none", "uki /linux\n", "no unified kernel image"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMachine(t)
			m.kernels("boot/linux")
			m.write(conf+"a.conf", c.text)
			m.expectIDs(m.expectSkipped(conf+"a.conf", c.want))
		})
	}
}

func TestType1DeviceTree(t *testing.T) {
	m := newMachine(t)
	m.kernels("boot/linux")
	m.write(conf+"a.conf", "linux /linux\ndevicetree /board.dtb\n")
	m.one()
	s := m.system()
	s.Architecture = "arm64"
	if entries, skipped, err := s.Find(); len(entries) > 0 || len(skipped) != 1 || err != nil || !strings.Contains(skipped[0].Err.Error(), "device tree") {
		t.Errorf("on arm64: %v, %v, %v", entries, skipped, err)
	}
}

func TestType1Names(t *testing.T) {
	m := newMachine(t)
	m.kernels("boot/linux")
	for _, name := range []string{"A.CONF", ".hidden.conf", "a.conf.bak", ".conf", "a.txt"} {
		m.write(conf+name, "linux /linux\n")
	}
	m.expectIDs(m.clean(), "A.CONF")
	m.write(conf+"a\x1b[31m.conf", "linux /linux\n")
	m.expectSkipped(conf+"a\x1b[31m.conf", "can't be shown")
}

// A directory of too many entries has none, others' are still there.
func TestType1TooMany(t *testing.T) {
	m := newMachine(t)
	m.kernels("boot/linux", "efi/linux")
	m.write("efi/loader/entries/good.conf", "linux /linux\n")
	for i := range maxEntries {
		m.write(fmt.Sprintf("%s%d.conf", conf, i), "linux /linux\n")
	}
	if got := len(m.clean()); got != maxEntries+1 {
		t.Errorf("found %d", got)
	}
	m.write(conf+"one-more.conf", "linux /linux\n")
	m.expectIDs(m.expectSkipped("boot/loader/entries", "over 1024 entries"), "good.conf")
}

// Where /boot is a directory of the root file system, GRUB's paths begin with it.
func TestType1BootInRoot(t *testing.T) {
	m := newMachine(t)
	m.kernels("boot/vmlinuz-1", "boot/initramfs-1.img", "boot/boot/vmlinuz-2")
	m.write(conf+"one.conf", "linux /boot/vmlinuz-1\ninitrd /boot/initramfs-1.img\n")
	m.write(conf+"two.conf", "linux /boot/vmlinuz-2\n")
	entries := m.clean()
	m.expectIDs(entries, "two.conf", "one.conf")
	m.expectPaths([]string{entries[0].Kernel, entries[1].Kernel}, "boot/boot/vmlinuz-2", "boot/vmlinuz-1")
	m.expectPaths(entries[1].Initrds, "boot/initramfs-1.img")
	m.write(conf+"two.conf", "linux /boot/../vmlinuz-1\n")
	m.expectSkipped(conf+"two.conf", `".."`)
}

func TestGRUBVariables(t *testing.T) {
	block := "# GRUB Environment Block\n# WARNING: Do not edit\nsaved_entry=x\nkernelopts=root=/dev/sda1 ro \ntuned_params=skew_tick=1\ntuned_params=nohz=on  isolcpus=2\n" +
		"tuned_initrd=/tuned.img /more.img\nescaped=a\\\\b\\\nc\n#no=comment\n"
	block += strings.Repeat("#", 1024-len(block))
	for _, file := range grubEnvFiles {
		t.Run(file, func(t *testing.T) {
			m := newMachine(t)
			m.kernels("boot/linux", "boot/initramfs", "boot/tuned.img", "boot/more.img")
			m.write(file, block)
			m.write(conf+"a.conf", "linux /linux\ninitrd /initramfs $tuned_initrd $none\noptions $kernelopts a=$tuned_params ${tuned_params} $unset\toptimal \"$x\" ${a b} $\noptions ${no}\n")
			e := m.one()
			if want := "root=/dev/sda1 ro a=$tuned_params nohz=on  isolcpus=2\toptimal \"$x\" ${a b} $"; e.CommandLine != want {
				t.Errorf("got  %q\nwant %q", e.CommandLine, want)
			}
			m.expectPaths(e.Initrds, "boot/initramfs", "boot/tuned.img", "boot/more.img")
		})
	}
	t.Run("without", func(t *testing.T) {
		m := newMachine(t)
		m.kernels("boot/linux", "boot/initramfs")
		m.write(conf+"a.conf", "linux /linux\ninitrd /initramfs $tuned_initrd\noptions root=/dev/sda1 $tuned_params\n")
		if e := m.one(); e.CommandLine != "root=/dev/sda1" || len(e.Initrds) != 1 {
			t.Errorf("got %+v", e)
		}
	})
	env := grubenv.Parse(block)
	if i := slices.IndexFunc(env, func(v grubenv.Variable) bool { return v.Name == "escaped" }); i < 0 || env[i].Value != "a\\b\nc" {
		t.Errorf("escaped: %q", env)
	}
	if slices.ContainsFunc(env, func(v grubenv.Variable) bool { return strings.HasPrefix(v.Name, "#") }) {
		t.Errorf("a comment is a variable: %v", env)
	}
}

func FuzzType1(f *testing.F) {
	f.Add([]byte("title a\nlinux /a\ninitrd /b $c\noptions $d ${e} f\n"))
	f.Add([]byte("# x\r\n\tuki\t/a\r\nprofile 1"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := parseType1(data)
		if err != nil {
			return
		}
		for _, text := range append([]string{s.title, s.version, s.linux, s.uki}, append(s.initrds, s.options...)...) {
			if strings.ContainsAny(text, "\n\x00") || len(text) > maxLine {
				t.Fatalf("%q is in an entry", text)
			}
			if name, err := clean(text); err == nil && (strings.HasPrefix(name, "/") || name == ".." || strings.HasPrefix(name, "../")) {
				t.Fatalf("%q becomes the path %q", text, name)
			}
			grubenv.Expand(text, grubenv.Parse(string(data)))
		}
		if printable(s.title) != s.title {
			t.Fatalf("the title is %q", s.title)
		}
	})
}
