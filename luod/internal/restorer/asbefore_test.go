package restorer

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/sdnotify/fakestore"
	"github.com/liveupdate/luod/luo/luofake"
	"github.com/liveupdate/luod/luod/internal/manifest"
	"github.com/liveupdate/luod/luod/internal/packer"
	"github.com/liveupdate/luod/luod/internal/vault"
)

// make a memfd of contents with seals, a mode, an owner and a position.
type made struct {
	flags    int
	content  []byte
	seals    int
	mode     uint32
	uid, gid int
	position int64
	superset bool
}

func (m made) file(t *testing.T) *os.File {
	t.Helper()
	fd, err := unix.MemfdCreate("t", unix.MFD_CLOEXEC|m.flags)
	if errors.Is(err, unix.EINVAL) {
		t.Skip("this kernel has no MFD_NOEXEC_SEAL, which Linux 6.3 brought; those with LUO have it")
	}
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "memfd")
	t.Cleanup(func() { f.Close() })
	_, err = f.Write(m.content)
	if err == nil {
		_, err = f.Seek(m.position, io.SeekStart)
	}
	if err == nil && m.mode != 0 {
		err = unix.Fchmod(fd, m.mode)
	}
	if err == nil && m.uid != 0 {
		err = unix.Fchown(fd, m.uid, m.gid)
	}
	if err == nil && m.seals != 0 {
		_, err = unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, m.seals)
	}
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// jump packs the files, by name, and restores them in the next kernel. Close ends it.
func jump(t *testing.T, room func(int64) error, files map[string]made) (before map[string]vault.Facts, r *Restored) {
	t.Helper()
	k, store := luofake.New(), fakestore.New()
	before = map[string]vault.Facts{}
	unit := packer.Unit{Name: "a.service"}
	superset := map[*vault.File]bool{}
	for name, m := range files {
		f := m.file(t)
		facts, err := vault.Look(f)
		if err != nil {
			t.Fatal(err)
		}
		before[name] = facts
		unit.Files = append(unit.Files, &vault.File{Unit: unit.Name, Name: name, F: f})
		superset[unit.Files[len(unit.Files)-1]] = m.superset
	}
	p, err := packer.Pack(context.Background(), k.LUO(), store, packer.Cargo{
		Units: []packer.Unit{unit}, Superset: superset, Manifest: manifest.Manifest{Generation: 1}, Now: time.Now, Verify: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	next, err := k.Kexec()
	if err != nil {
		t.Fatal(err)
	}
	p.Drop()
	store.Close()
	after := fakestore.New()
	from := source(next, after, nothing)
	from.Room = room
	if r, err = from.Restore(ctx, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { leave(next, after, r) })
	return before, r
}

func pattern(n int) []byte {
	b := make([]byte, n)
	if _, err := rand.NewChaCha8([32]byte{7}).Read(b); err != nil {
		panic(err)
	}
	return b
}

func TestEverythingOfAMemfdComesBack(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root gives files away")
	}
	sparse := make([]byte, 3*chunk+17)
	sparse[0], sparse[chunk+page], sparse[len(sparse)-1] = 1, 2, 3
	const write = unix.F_SEAL_WRITE | unix.F_SEAL_GROW | unix.F_SEAL_SHRINK
	files := map[string]made{
		"plain":                {content: pattern(100)},
		"private":              {content: pattern(5000), mode: 0o600, uid: 1001, gid: 1002, position: 9},
		"private of root":      {content: pattern(5000), mode: 0o600},
		"noexec":               {flags: unix.MFD_NOEXEC_SEAL, content: pattern(chunk + 5), position: 77},
		"noexec, empty":        {flags: unix.MFD_NOEXEC_SEAL},
		"noexec, sparse":       {flags: unix.MFD_NOEXEC_SEAL, content: sparse},
		"noexec and private":   {flags: unix.MFD_NOEXEC_SEAL, content: pattern(page), mode: 0o600, uid: 1001, gid: 1002},
		"noexec, immutable":    {flags: unix.MFD_NOEXEC_SEAL, content: pattern(2 * chunk), seals: write | unix.F_SEAL_SEAL},
		"noexec, all seals":    {flags: unix.MFD_NOEXEC_SEAL, content: pattern(99), seals: write | unix.F_SEAL_FUTURE_WRITE},
		"noexec, future":       {flags: unix.MFD_NOEXEC_SEAL, content: pattern(99), seals: unix.F_SEAL_FUTURE_WRITE},
		"executable":           {flags: unix.MFD_ALLOW_SEALING | unix.MFD_EXEC, content: pattern(99), seals: unix.F_SEAL_EXEC},
		"executable by owner":  {flags: unix.MFD_ALLOW_SEALING | unix.MFD_EXEC, content: pattern(99), mode: 0o700, uid: 1001, seals: unix.F_SEAL_EXEC},
		"not executable by me": {flags: unix.MFD_ALLOW_SEALING | unix.MFD_EXEC, content: pattern(99), mode: 0o644, seals: unix.F_SEAL_GROW},
	}
	before, r := jump(t, nil, files)
	if len(r.Files) != len(files) || len(r.Lost) != 0 || len(r.Changed) != 0 {
		t.Errorf("%d files, lost %+v, changed %+v", len(r.Files), r.Lost, r.Changed)
	}
	for _, back := range r.Files {
		was, want := files[back.Name], before[back.Name]
		got, err := vault.Look(back.F)
		if err != nil {
			t.Fatal(err)
		}
		if got.Size != want.Size || got.Seals != want.Seals || got.Mode != want.Mode || got.UID != want.UID || got.GID != want.GID {
			t.Errorf("%s is %+v and was %+v", back.Name, got, want)
		}
		if position, err := back.F.Seek(0, io.SeekCurrent); err != nil || position != max(was.position, 0) {
			t.Errorf("%s is at %d (%v) and was at %d", back.Name, position, err, was.position)
		}
		content := make([]byte, got.Size)
		if _, err := back.F.ReadAt(content, 0); err != nil && err != io.EOF || !bytes.Equal(content, was.content) {
			t.Errorf("%s has other contents (%v)", back.Name, err)
		}
		if back.Name == "noexec, sparse" && got.Allocated > 3*page {
			t.Errorf("the copy of a sparse file takes %d bytes", got.Allocated)
		}
	}
}

func TestACopyThatCantBeMade(t *testing.T) {
	const immutable = unix.F_SEAL_WRITE | unix.F_SEAL_SEAL
	full := func(int64) error { return errors.New("only 5 bytes are free") }
	for name, c := range map[string]struct {
		file made
		room func(int64) error
		// changed and lost are what is said of it, if anything is.
		changed, lost string
	}{
		"it can be written to": {
			file: made{flags: unix.MFD_NOEXEC_SEAL, content: pattern(99)}, room: full, lost: "only 5 bytes are free",
		},
		"nobody can write to it": {
			file: made{flags: unix.MFD_NOEXEC_SEAL, content: pattern(99), seals: immutable}, room: full, changed: "with the seals 0x3f instead of 0x29",
		},
		"it was known before": {
			file: made{flags: unix.MFD_NOEXEC_SEAL, content: pattern(99), seals: immutable, superset: true}, changed: "with the seals 0x3f instead of 0x29",
		},
		"who may execute it": {
			file: made{flags: unix.MFD_ALLOW_SEALING | unix.MFD_EXEC, content: pattern(99), mode: 0o700, seals: unix.F_SEAL_EXEC, superset: true}, changed: "and the mode 0711 instead of 0700",
		},
		"there is room":      {file: made{flags: unix.MFD_NOEXEC_SEAL, content: pattern(99)}, room: func(int64) error { return nil }},
		"it needs no copy":   {file: made{content: pattern(99)}, room: full},
		"it has all of them": {file: made{flags: unix.MFD_ALLOW_SEALING | unix.MFD_EXEC, content: pattern(99), mode: 0o777, seals: unix.F_SEAL_EXEC}, room: full},
	} {
		t.Run(name, func(t *testing.T) {
			_, r := jump(t, c.room, map[string]made{"x": c.file})
			if c.lost == "" {
				if len(r.Lost) != 0 || len(r.Files) != 1 {
					t.Fatalf("lost %+v, files %+v", r.Lost, r.Files)
				}
				content := make([]byte, 99)
				if _, err := r.Files[0].F.ReadAt(content, 0); err != nil || !bytes.Equal(content, c.file.content) {
					t.Errorf("it has other contents (%v)", err)
				}
			} else if len(r.Files) != 0 || len(r.Lost) != 1 || !strings.Contains(r.Lost[0].Reason, c.lost) || !strings.Contains(r.Lost[0].Reason, "stays in the session") {
				t.Errorf("lost %+v, files %+v", r.Lost, r.Files)
			} else if r.Sessions["luod.g1.1"] == nil {
				t.Error("its session was closed")
			}
			if c.changed == "" && len(r.Changed) != 0 || c.changed != "" && (len(r.Changed) != 1 || !strings.Contains(r.Changed[0].Note, c.changed)) {
				t.Errorf("changed %+v", r.Changed)
			}
		})
	}
}

// Killed after the owner and before PID 1 has the file: the next start must not need
// what only the owner may do.
func TestWhatHasItsOwnerStaysAsItIs(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root gives files away")
	}
	f := made{content: pattern(9), mode: 0o640, uid: 1001, gid: 1001}.file(t)
	if err := own(f, unix.S_IFREG|0o600, manifest.File{Mode: unix.S_IFREG | 0o600, UID: 1001, GID: 1001}); err != nil {
		t.Fatal(err)
	}
	if got, err := vault.Look(f); err != nil || got.Mode != unix.S_IFREG|0o640 {
		t.Errorf("%+v, %v", got, err)
	}
	// Between the two, as far as the mode.
	f = made{content: pattern(9), mode: 0o600}.file(t)
	if err := own(f, unix.S_IFREG|0o600, manifest.File{Mode: unix.S_IFREG | 0o600, UID: 1001, GID: 1002}); err != nil {
		t.Fatal(err)
	}
	if got, err := vault.Look(f); err != nil || got.Mode != unix.S_IFREG|0o600 || got.UID != 1001 || got.GID != 1002 {
		t.Errorf("%+v, %v", got, err)
	}
}

// An older luod has written no mode.
func TestWithoutAModeNothingIsChanged(t *testing.T) {
	f := made{content: pattern(9), mode: 0o640}.file(t)
	if err := own(f, 0, manifest.File{}); err != nil {
		t.Fatal(err)
	}
	if got, err := vault.Look(f); err != nil || got.Mode != unix.S_IFREG|0o640 {
		t.Errorf("%+v, %v", got, err)
	}
}

// luod may give files away (CAP_CHOWN) and not change what is others' (CAP_FOWNER): see
// units/luod.service.
func TestModeAndOwnerTakeNoMoreThanLuodMayDo(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root gives files away")
	}
	f := made{content: pattern(9)}.file(t)
	without(t, unix.CAP_FOWNER, unix.CAP_FSETID)
	want := manifest.File{Mode: unix.S_IFREG | 0o600, UID: 1001, GID: 1002}
	for range 2 { // the second time is after a kill
		if err := own(f, want.Mode, want); err != nil {
			t.Fatal(err)
		}
		if got, err := vault.Look(f); err != nil || got.Mode != want.Mode || got.UID != want.UID || got.GID != want.GID {
			t.Errorf("%+v, %v", got, err)
		}
	}
}

// without takes capabilities from this thread until the test ends.
func without(t *testing.T, capabilities ...int) {
	t.Helper()
	runtime.LockOSThread()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var before [2]unix.CapUserData
	if err := unix.Capget(&header, &before[0]); err != nil {
		t.Fatal(err)
	}
	now := before
	for _, c := range capabilities {
		now[c/32].Effective &^= 1 << (c % 32)
	}
	if err := unix.Capset(&header, &now[0]); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Capset(&header, &before[0]); err != nil {
			t.Fatal(err)
		}
		runtime.UnlockOSThread()
	})
}
