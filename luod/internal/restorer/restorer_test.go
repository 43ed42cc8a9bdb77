package restorer

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/luo"
	"github.com/liveupdate/luod/luo/luofake"
	"github.com/liveupdate/luod/luod/fdstore/fakestore"
	"github.com/liveupdate/luod/luod/internal/manifest"
)

func memfd(t *testing.T, content string) *os.File {
	t.Helper()
	fd, err := unix.MemfdCreate("t", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "memfd")
	t.Cleanup(func() { f.Close() })
	if _, err := f.WriteString(content); err != nil {
		t.Fatal(err)
	}
	return f
}

// handedOver is a kernel that was handed over files, all with the contents
// "hello", and a manifest that says of them what it says.
func handedOver(t *testing.T, files ...manifest.File) *luofake.Kernel {
	t.Helper()
	ctx, old := context.Background(), luofake.New()
	text, err := manifest.Encode(&manifest.Manifest{Generation: 1, Units: []manifest.Unit{{Name: "a.service", Files: files}}})
	if err != nil {
		t.Fatal(err)
	}
	for session, contents := range map[string]map[uint64]string{
		manifest.SessionName: {manifest.Token: string(text)},
		"luod.g1.1":          {1: "hello", 2: "hello", 3: "hello"},
	} {
		s, err := old.LUO().CreateSession(ctx, session)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		for token, content := range contents {
			if err := s.PreserveFD(memfd(t, content), token); err != nil {
				t.Fatal(err)
			}
		}
	}
	next, err := old.Kexec()
	if err != nil {
		t.Fatal(err)
	}
	return next
}

func nothing(string, string) bool { return false }

const sumOfHello = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"

func TestWhatCameBackOtherwiseIsGivenToNobody(t *testing.T) {
	good := manifest.File{Name: "good", Session: "luod.g1.1", Token: 1, Size: 5, Flags: unix.O_RDWR, SHA256: sumOfHello}
	for name, c := range map[string]struct {
		file manifest.File
		why  string
	}{
		"another size":     {manifest.File{Size: 6, Session: "luod.g1.1", Token: 2}, "5 bytes instead of 6"},
		"other seals":      {manifest.File{Size: 5, Seals: unix.F_SEAL_GROW, Session: "luod.g1.1", Token: 2}, "seals"},
		"another checksum": {manifest.File{Size: 5, SHA256: "00", Session: "luod.g1.1", Token: 2}, "SHA-256"},
		"no such token":    {manifest.File{Size: 5, Session: "luod.g1.1", Token: 9}, "no such token"},
		"no such session":  {manifest.File{Size: 5, Session: "luod.g1.7", Token: 1}, "no session of this name"},
	} {
		t.Run(name, func(t *testing.T) {
			c.file.Name, c.file.Flags = "bad", unix.O_RDWR
			k := handedOver(t, good, c.file)
			r, err := Restore(context.Background(), k.LUO(), fakestore.New(), nil, nothing, true)
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Files) != 1 || r.Files[0].Name != "good" || r.Files[0].Unit != "a.service" {
				t.Errorf("files %+v", r.Files)
			}
			if len(r.Lost) != 1 || r.Lost[0].Name != "bad" || !strings.Contains(r.Lost[0].Reason, c.why) {
				t.Errorf("lost %+v, want %q", r.Lost, c.why)
			}
			if in := k.Incoming(); len(in) != 2 {
				t.Errorf("open: %v", in)
			}
		})
	}
}

func TestRestoringAgainGivesTheSameFiles(t *testing.T) {
	var files []manifest.File
	for i := range uint64(3) {
		files = append(files, manifest.File{Name: fmt.Sprint(i), Session: "luod.g1.1", Token: i + 1, Size: 5, Flags: unix.O_RDWR})
	}
	k, store := handedOver(t, files...), fakestore.New()
	first, err := Restore(context.Background(), k.LUO(), store, nil, nothing, true)
	if err != nil || len(first.Files) != 3 {
		t.Fatalf("%+v, %v", first, err)
	}
	inode := func(f *os.File) uint64 {
		var st unix.Stat_t
		if err := unix.Fstat(int(f.Fd()), &st); err != nil {
			t.Fatal(err)
		}
		return st.Ino
	}
	// A kill: only what is in the fd store is left.
	want := inode(first.Files[1].F)
	first.Session.Close()
	for _, s := range first.Sessions {
		s.Close()
	}
	back := map[string]*luo.Session{}
	for _, e := range store.Listen() {
		back[e.Name] = k.LUO().SessionFromFile(e.File)
	}
	second, err := Restore(context.Background(), k.LUO(), store, back, func(_, name string) bool { return name == "0" }, true)
	if err != nil || len(second.Files) != 2 || len(second.Lost) != 0 {
		t.Fatalf("%+v, %v", second, err)
	}
	if got := inode(second.Files[0].F); got != want {
		t.Errorf("file 1 is inode %d and was %d", got, want)
	}
}
