package restorer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/sdnotify/fakestore"
	"github.com/liveupdate/luod/luo"
	"github.com/liveupdate/luod/luo/luofake"
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
	old := luofake.New()
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

var ctx = context.Background()

func source(k *luofake.Kernel, store *fakestore.Store, have func(unit, name string) bool) Source {
	return Source{Kernel: k.LUO(), Store: store, Have: have, Delegated: true, Patience: 10 * time.Millisecond}
}

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
			k, store := handedOver(t, good, c.file), fakestore.New()
			r, err := source(k, store, nothing).Restore(ctx, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer leave(k, store, r)
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
	first, err := source(k, store, nothing).Restore(ctx, nil)
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
	for _, f := range first.Files {
		f.F.Close()
	}
	back := map[string]*luo.Session{}
	for _, e := range store.Listen() {
		back[e.Name] = k.LUO().SessionFromFile(e.File)
	}
	second, err := source(k, store, func(_, name string) bool { return name == "0" }).Restore(ctx, back)
	if err != nil || len(second.Files) != 2 || len(second.Lost) != 0 {
		t.Fatalf("%+v, %v", second, err)
	}
	if got := inode(second.Files[0].F); got != want {
		t.Errorf("file 1 is inode %d and was %d", got, want)
	}
	leave(k, store, second)
}

// leave closes all that a test has, so that the next one can count descriptors.
func leave(k *luofake.Kernel, store *fakestore.Store, restored ...*Restored) {
	for _, r := range restored {
		r.Session.Close()
		for _, s := range r.Sessions {
			s.Close()
		}
		for _, f := range r.Files {
			f.F.Close()
		}
	}
	store.Close()
	k.Settle()
}

func openFDs(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// Many sessions are read at the same time. What is wrong with one of them must not
// touch the others, and everything has to come in the manifest's order.
func TestTheOrderIsTheManifestsWhateverFails(t *testing.T) {
	before := runtime.GOMAXPROCS(4)
	defer runtime.GOMAXPROCS(before)
	const sessions, perSession = 12, 20
	old := luofake.New()
	m := manifest.Manifest{Generation: 1}
	var kept []*luo.Session
	for i := range sessions {
		name := fmt.Sprintf("luod.g1.%d", i+1)
		u := manifest.Unit{Name: fmt.Sprintf("%d.service", i)}
		s, err := old.LUO().CreateSession(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		kept = append(kept, s)
		for j := range perSession {
			f := memfd(t, strings.Repeat("x", 100*i+j))
			if err := s.PreserveFD(f, uint64(j)+1); err != nil {
				t.Fatal(err)
			}
			f.Close()
			want := manifest.File{Name: fmt.Sprint(j), Session: name, Token: uint64(j) + 1, Size: int64(100*i + j), Flags: unix.O_RDWR}
			switch {
			case i == 3:
				want.Session = "luod.g1.99" // which there is not
			case i == 5 && j == 7:
				want.Token = 77
			case i == 7 && j%2 == 0:
				want.Size++
			}
			u.Files = append(u.Files, want)
		}
		m.Units = append(m.Units, u)
	}
	// A unit may lie in the session of another.
	m.Units[9].Files, m.Units[10].Files = append(m.Units[9].Files, m.Units[10].Files[0]), m.Units[10].Files[1:]
	m.Units[9].Files[perSession].Name = "foreign"
	text, err := manifest.Encode(&m)
	if err != nil {
		t.Fatal(err)
	}
	s, err := old.LUO().CreateSession(ctx, manifest.SessionName)
	if err != nil {
		t.Fatal(err)
	}
	f := memfd(t, string(text))
	if err := s.PreserveFD(f, manifest.Token); err != nil {
		t.Fatal(err)
	}
	f.Close()
	k, err := old.Kexec()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range append(kept, s) {
		s.Close()
	}

	open, store := openFDs(t), fakestore.New()
	var files, lost []string
	for _, u := range m.Units {
		for _, f := range u.Files {
			bad := f.Session == "luod.g1.99" || f.Token == 77 || u.Name == "7.service" && f.Token%2 == 1
			switch name := u.Name + "/" + f.Name; {
			case name == "1.service/4": // the vault has it
			case bad:
				lost = append(lost, name)
			default:
				files = append(files, name)
			}
		}
	}
	r, err := source(k, store, func(unit, name string) bool { return unit == "1.service" && name == "4" }).Restore(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	var gotFiles, gotLost []string
	for _, f := range r.Files {
		gotFiles = append(gotFiles, f.Unit+"/"+f.Name)
		st, err := f.F.Stat()
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range m.Units {
			for _, want := range u.Files {
				if u.Name == f.Unit && want.Name == f.Name && st.Size() != want.Size {
					t.Errorf("%s of %s has %d bytes, want %d", f.Name, f.Unit, st.Size(), want.Size)
				}
			}
		}
	}
	for _, l := range r.Lost {
		gotLost = append(gotLost, l.Unit+"/"+l.Name)
	}
	if !slices.Equal(gotFiles, files) {
		t.Errorf("came back %v\nwant %v", gotFiles, files)
	}
	if !slices.Equal(gotLost, lost) {
		t.Errorf("lost %v\nwant %v", gotLost, lost)
	}
	// That of session 4 alone was never asked for.
	if len(store.Names()) != sessions || k.DeviceOpen() {
		t.Errorf("in the store: %v; the device is open: %t", store.Names(), k.DeviceOpen())
	}
	leave(k, store, r)
	if after := openFDs(t); after != open {
		t.Errorf("%d file descriptors before, %d after", open, after)
	}
}

// Somebody else may have the device open, for a while or for long: nothing is lost
// then, and all is there the next time.
func TestWithoutTheDeviceNothingIsLost(t *testing.T) {
	k := handedOver(t, manifest.File{Name: "x", Session: "luod.g1.1", Token: 1, Size: 5, Flags: unix.O_RDWR})
	store := fakestore.New()
	other, err := k.LUO().Open(ctx)
	if err != nil {
		t.Fatal(err)
	}
	manifestOnly, err := other.RetrieveSession(manifest.SessionName)
	if err != nil {
		t.Fatal(err)
	}
	for _, back := range []map[string]*luo.Session{nil, {manifest.SessionName: manifestOnly}} {
		r, err := source(k, store, nothing).Restore(ctx, back)
		if !errors.Is(err, unix.EBUSY) || len(r.Files) != 0 || len(r.Lost) != 0 || r.Sessions == nil {
			t.Fatalf("%+v, %v", r, err)
		}
	}
	// Who has all needs no device.
	r, err := source(k, store, func(string, string) bool { return true }).Restore(ctx, map[string]*luo.Session{manifest.SessionName: manifestOnly})
	if err != nil || len(r.Files)+len(r.Lost)+len(r.Sessions) != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	other.Close()
	r, err = source(k, store, nothing).Restore(ctx, map[string]*luo.Session{manifest.SessionName: manifestOnly})
	if err != nil || len(r.Files) != 1 || len(r.Lost) != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	leave(k, store, r)
}
