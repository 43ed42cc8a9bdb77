package bootentry

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/liveupdate/luod/kexec/uki"
)

const osRelease = `.osrel=NAME="Debian GNU/Linux"
PRETTY_NAME="Debian \"13\" \$x"
ID=debian
VERSION='13 (trixie)'
VERSION_ID="13"
`

func TestUKI(t *testing.T) {
	m := newMachine(t)
	m.uki("efi/EFI/Linux/debian-6.12+3.efi", ".text=x", osRelease, ".uname=6.12-amd64\x00", ".cmdline= root=/dev/sda1\n quiet \x00\x00", ".linux=kernel", ".initrd=i")
	e := m.one()
	if e.ID != "debian-6.12.efi" || e.Kind != Type2 || e.Title != `Debian "13" $x` || e.Version != "13 (trixie)" || e.Release != "6.12-amd64" || e.SortKey != "debian" ||
		e.Architecture != "amd64" || e.CommandLine != "root=/dev/sda1  quiet" || e.Profile != 0 || e.TriesLeft != 3 || e.TriesDone != 0 || !e.Default || len(e.Initrds) > 0 {
		t.Errorf("got %+v", e)
	}
	m.expectPaths([]string{e.Source, e.Kernel}, "efi/EFI/Linux/debian-6.12+3.efi", "efi/EFI/Linux/debian-6.12+3.efi")
}

// What bootspec.c takes of os-release.
func TestUKINames(t *testing.T) {
	for _, c := range []struct{ osrel, title, version, key string }{
		{"PRETTY_NAME=a\nIMAGE_ID=b\nNAME=c\nID=d\nIMAGE_VERSION=1\nVERSION=2\nVERSION_ID=3\nBUILD_ID=4\n", "a", "1", "b"},
		{"IMAGE_ID=b\nNAME=c\nID=d\nVERSION=2\nVERSION_ID=3\nBUILD_ID=4\n", "b", "2", "b"},
		{"NAME=c\nID=d\nVERSION_ID=3\nBUILD_ID=4\n", "c", "3", "d"},
		{"ID=d\nBUILD_ID=4\n", "d", "4", "d"},
		{"ID=d\n", "d", "6.12", "d"},
		{"#\nnonsense\nPRETTY_NAME=\"a\x1b[31mb\"\n", "a[31mb", "6.12", ""},
		{"", "linux.efi", "6.12", ""},
	} {
		m := newMachine(t)
		m.uki("boot/EFI/Linux/linux.efi", ".linux=k", ".osrel="+c.osrel, ".uname=6.12")
		if e := m.one(); e.Title != c.title || e.Version != c.version || e.SortKey != c.key {
			t.Errorf("%q: got %q, %q, %q", c.osrel, e.Title, e.Version, e.SortKey)
		}
	}
}

func TestUKIProfiles(t *testing.T) {
	m := newMachine(t)
	m.uki("boot/EFI/Linux/linux.efi", ".linux=kernel", osRelease, ".cmdline=quiet",
		".profile=TITLE=Regular",
		".profile=ID=reset\nTITLE=\"Factory Reset\"\n", ".cmdline=quiet reset",
		".profile=", ".cmdline=", ".osrel=ID=other\n",
		".profile=ID=reset\n",
		".profile=ID=a/../b\n")
	entries := m.clean()
	m.expectIDs(entries, "linux.efi", "linux.efi@reset", "linux.efi@3", "linux.efi@4", "linux.efi@2")
	for i, want := range []struct {
		title, line string
		profile     int
	}{
		{`Debian "13" $x (Regular)`, "quiet", 0}, {`Debian "13" $x (Factory Reset)`, "quiet reset", 1},
		{`Debian "13" $x (reset)`, "quiet", 3}, {`Debian "13" $x (a/../b)`, "quiet", 4}, {"other (@2)", "", 2},
	} {
		if e := entries[i]; e.Title != want.title || e.CommandLine != want.line || e.Profile != want.profile {
			t.Errorf("%d: got %+v", i, e)
		}
	}
	if !entries[0].Default {
		t.Error("the first is not the default")
	}
	// A default in the first profile's ID is what the boot loader shows, too.
	m.variable("LoaderEntryDefault", "linux.efi@reset")
	if got := defaultOf(m.clean()); got != "linux.efi@reset" {
		t.Errorf("the default is %s", got)
	}
}

func TestUKISkipped(t *testing.T) {
	good := peImage(amd64, ".cmdline=a", ".linux="+strings.Repeat("k", 5000))
	change := func(f func([]byte)) []byte {
		b := bytes.Clone(good)
		f(b)
		return b
	}
	for _, c := range []struct {
		name  string
		image []byte
		want  string
	}{
		{"text", []byte("hello"), "no unified kernel image"},
		{"no kernel", peImage(amd64, ".cmdline=a"), "no unified kernel image"},
		{"an empty kernel", peImage(amd64, ".linux="), "no unified kernel image"},
		{"a kernel in a profile only", peImage(amd64, ".profile=a", ".linux=k", ".profile=b"), "no unified kernel image"},
		{"half written", good[:len(good)-600], "half written"},
		{"half of the headers", good[:0x80+30], "header"},
		{"another machine", peImage(0xaa64, ".linux=k"), "machine type 0xaa64"},
		{"a long command line", peImage(amd64, ".linux=k", ".cmdline="+strings.Repeat("a", 65<<10)), "are not sane"},
		{"a long os-release", peImage(amd64, ".linux=k", ".osrel="+strings.Repeat("a", 65<<10)), "are not sane"},
		{"too many sections", change(func(b []byte) { binary.LittleEndian.PutUint16(b[0x86:], 97) }), "not sane"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMachine(t)
			m.write("boot/EFI/Linux/a.efi", string(c.image))
			m.expectIDs(m.expectSkipped("boot/EFI/Linux/a.efi", c.want))
		})
	}
}

// A file of 4 GiB with holes takes neither time nor memory.
func TestUKISparse(t *testing.T) {
	m := newMachine(t)
	m.uki("boot/EFI/Linux/a.efi", ".linux=kernel", ".cmdline=quiet")
	if err := os.Truncate(m.path("boot/EFI/Linux/a.efi"), 4<<30+1); err != nil {
		t.Skipf("this file system takes no file of 4 GiB: %v", err)
	}
	if e := m.one(); e.CommandLine != "quiet" {
		t.Errorf("got %+v", e)
	}
	m.uki("boot/EFI/Linux/a.efi", ".cmdline=quiet", ".linux=kernel")
	image, err := os.OpenFile(m.path("boot/EFI/Linux/a.efi"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer image.Close()
	const table = 0x80 + 24 + 160
	for _, at := range []int64{table + 8, table + 16} { // .cmdline's sizes
		if _, err := image.WriteAt([]byte{0xff, 0xff, 0xff, 0xfe}, at); err != nil {
			t.Fatal(err)
		}
	}
	if err := image.Truncate(5 << 30); err != nil {
		t.Fatal(err)
	}
	m.expectIDs(m.expectSkipped("boot/EFI/Linux/a.efi", "are not sane"))
}

func TestUKITooManyProfiles(t *testing.T) {
	m := newMachine(t)
	sections := []string{".linux=k"}
	for range 95 {
		sections = append(sections, ".profile=")
	}
	for i := range 11 {
		m.uki(fmt.Sprintf("boot/EFI/Linux/%02d.efi", i), sections...)
	}
	if entries := m.expectSkipped("boot/EFI/Linux/10.efi", "over 1024"); len(entries) != 950 {
		t.Errorf("found %d", len(entries))
	}
}

func TestAddons(t *testing.T) {
	m := newMachine(t)
	m.uki("boot/EFI/Linux/a+2.efi", ".linux=k", ".uname=6.12", ".cmdline=base", ".profile=ID=p", ".profile=", ".cmdline=second")
	m.uki("boot/EFI/Linux/b.efi", ".linux=k", ".uname=6.11")
	m.uki("boot/EFI/Linux/a.efi.extra.d/2.addon.efi", ".cmdline= local2\n")
	m.uki("boot/EFI/Linux/a.efi.extra.d/1.addon.EFI", ".cmdline=local1", ".uname=6.12\n", ".dtb=x")
	m.uki("boot/EFI/Linux/a.efi.extra.d/no.efi", ".cmdline=no")
	m.uki("boot/loader/addons/z.addon.efi", ".cmdline=global\x00")
	m.uki("boot/loader/addons/other.addon.efi", ".cmdline=other", ".uname=6.11")
	entries := m.clean()
	m.expectIDs(entries, "b.efi", "a.efi@p", "a.efi@1")
	for i, want := range []string{"other global", "base global local1 local2", "second global local1 local2"} {
		if entries[i].CommandLine != want {
			t.Errorf("%s: %q, want %q", entries[i].ID, entries[i].CommandLine, want)
		}
	}
	m.expectPaths(entries[1].Addons, "boot/loader/addons/z.addon.efi",
		"boot/EFI/Linux/a.efi.extra.d/1.addon.EFI", "boot/EFI/Linux/a.efi.extra.d/2.addon.efi")

	for _, c := range []struct {
		name, image, want string
	}{
		{"another machine", string(peImage(0xaa64, ".cmdline=x")), "machine type"},
		{"no PE", "x", "PE image"},
		{"kernel", string(peImage(amd64, ".cmdline=x", ".linux=k")), "no addon"},
		{"initrd", string(peImage(amd64, ".cmdline=x", ".initrd=k")), "not supported"},
		{"long", string(peImage(amd64, ".cmdline="+strings.Repeat("x", 65<<10))), "not sane"},
		{"another release", string(peImage(amd64, ".cmdline=x", ".uname=6.13")), "for the kernel 6.13"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m.write("boot/EFI/Linux/a.efi.extra.d/bad.addon.efi", c.image)
			for _, e := range m.expectSkipped("boot/EFI/Linux/a.efi.extra.d/bad.addon.efi", c.want) {
				if strings.Contains(e.CommandLine, "x") {
					t.Errorf("%s: %q", e.ID, e.CommandLine)
				}
			}
		})
	}
}

// Addons can't make a command line longer than any may be.
func TestAddonsTooLong(t *testing.T) {
	m := newMachine(t)
	m.uki("boot/EFI/Linux/a.efi", ".linux=k", ".cmdline=base")
	for i := range 3 {
		m.uki(fmt.Sprintf("boot/loader/addons/%d.addon.efi", i), ".cmdline="+strings.Repeat("x", 30<<10))
	}
	m.expectIDs(m.expectSkipped("boot/EFI/Linux/a.efi", "command line"))
}

// A type 1 entry can name a unified kernel image, and a profile of it.
func TestType1UKI(t *testing.T) {
	m := newMachine(t)
	m.uki("boot/images/a.efi", ".linux=k", osRelease, ".uname=6.12", ".cmdline=base", ".profile=ID=p", ".profile=ID=q", ".cmdline=second")
	m.uki("boot/images/a.efi.extra.d/x.addon.efi", ".cmdline=addon")
	m.write(conf+"a.conf", "uki /images/a.efi\n")
	e := m.one()
	if e.ID != "a.conf" || e.Kind != Type1 || e.Title != `Debian "13" $x (p)` || e.Release != "6.12" || e.Profile != 0 || e.CommandLine != "base addon" || e.Architecture != "amd64" {
		t.Errorf("got %+v", e)
	}
	m.expectPaths([]string{e.Source, e.Kernel}, conf+"a.conf", "boot/images/a.efi")
	m.write(conf+"a.conf", "title t\nversion v\nsort-key s\nuki /images/a.efi\nprofile 1\noptions own\n")
	if e := m.one(); e.Title != "t" || e.Version != "v" || e.SortKey != "s" || e.Profile != 1 || e.CommandLine != "own addon" {
		t.Errorf("got %+v", e)
	}
	m.write(conf+"a.conf", "uki /images/a.efi\nprofile 1\n")
	if e := m.one(); e.CommandLine != "second addon" {
		t.Errorf("got %+v", e)
	}
	for _, profile := range []string{"2", "-1", "q", "99999999999999999999"} {
		m.write(conf+"a.conf", "uki /images/a.efi\nprofile "+profile+"\n")
		m.expectSkipped(conf+"a.conf", "none of number")
	}
	m.write("boot/images/a.efi", string(peImage(0xaa64, ".linux=k")))
	m.write(conf+"a.conf", "uki /images/a.efi\n")
	m.expectSkipped(conf+"a.conf", "machine type")
}

func FuzzUKI(f *testing.F) {
	f.Add(peImage(amd64, ".linux=k", osRelease, ".uname=6.12", ".cmdline=base", ".profile=ID=p", ".profile=ID=q", ".cmdline=second"))
	f.Add(peImage(amd64, ".cmdline=x", ".uname=1"))
	f.Fuzz(func(t *testing.T, image []byte) {
		r, size := bytes.NewReader(image), int64(len(image))
		if a, err := (System{Architecture: "amd64"}).parseAddon(r, size); err == nil && len(a.commandLine) > uki.MaxText {
			t.Fatalf("an addon's command line has %d bytes", len(a.commandLine))
		}
		u, err := uki.Read(r, size)
		if err != nil {
			return
		}
		entries := unified(u, "linux.efi")
		if len(entries) == 0 || len(entries) > 96 {
			t.Fatalf("it has %d entries", len(entries))
		}
		for i, e := range entries {
			if e.Profile != i || e.file() != "linux.efi" || printable(e.ID+e.Title+e.Version+e.SortKey+e.Release) != e.ID+e.Title+e.Version+e.SortKey+e.Release ||
				len(e.CommandLine) > uki.MaxText || strings.ContainsAny(e.CommandLine, "\n\x00") {
				t.Fatalf("got %+v", e)
			}
		}
	})
}
