package uki

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/liveupdate/luod/kexec/pe/petest"
)

func section(name, data string) petest.Section { return petest.Section{Name: name, Data: []byte(data)} }

func read(data []byte) (*UKI, error) { return Read(bytes.NewReader(data), int64(len(data))) }

func TestProfilesTakeFromTheBaseWhatTheyLack(t *testing.T) {
	data := petest.Image(0x8664, section(".osrel", "ID=a\n"), section(".uname", "7.3\n"), section(".cmdline", " root=a\n quiet\x00"), section(".linux", "L"), section(".initrd", "I"), section(".ucode", "U"),
		section(".profile", "ID=main\n"), section(".profile", "ID=rescue\nTITLE=\"Help me\"\n"), section(".cmdline", "rescue"), section(".initrd", "J!"))
	u, err := read(data)
	if err != nil || len(u.Profiles) != 2 || u.Machine != 0x8664 {
		t.Fatalf("%+v, %v", u, err)
	}
	main, rescue := u.Profiles[0], u.Profiles[1]
	if main.ID != "main" || main.CommandLine != "root=a  quiet" || main.Release != "7.3" || len(main.Initrds) != 2 || main.Initrds[0].Name != ".ucode" || main.Initrds[1].Size != 1 {
		t.Errorf("main: %+v", main)
	}
	if rescue.ID != "rescue" || rescue.Title != "Help me" || rescue.CommandLine != "rescue" || rescue.OSRelease != "ID=a" || rescue.Linux != main.Linux || rescue.Initrds[1].Size != 2 {
		t.Errorf("rescue: %+v", rescue)
	}
}

func TestWhatIsNoUKIIsSaidToBeNone(t *testing.T) {
	for what, data := range map[string][]byte{
		"nothing":         nil,
		"a text":          []byte("hello"),
		"no kernel":       petest.Image(0x8664, section(".cmdline", "x")),
		"an empty kernel": petest.Image(0x8664, section(".linux", "")),
	} {
		if u, err := read(data); !errors.Is(err, ErrNone) {
			t.Errorf("%s: %+v, %v", what, u, err)
		}
	}
	good := petest.Image(0x8664, section(".linux", strings.Repeat("L", 5000)))
	if _, err := read(good[:2000]); err == nil || errors.Is(err, ErrNone) {
		t.Errorf("half of one: %v", err)
	}
	if _, err := read(petest.Image(0x8664, section(".linux", "L"), section(".cmdline", strings.Repeat("x", MaxText+1)))); err == nil || !strings.Contains(err.Error(), "not sane") {
		t.Errorf("a long command line: %v", err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(petest.Image(0x8664, section(".linux", "L"), section(".profile", "ID=x"), section(".cmdline", "a\nb")))
	f.Fuzz(func(t *testing.T, data []byte) {
		u, err := read(data)
		if err != nil {
			return
		}
		for _, p := range u.Profiles {
			if strings.ContainsAny(p.CommandLine, "\n\x00") || p.Linux.Offset+p.Linux.Size > int64(len(data)) || len(p.OSRelease) > MaxText {
				t.Fatalf("%+v", p)
			}
		}
	})
}
