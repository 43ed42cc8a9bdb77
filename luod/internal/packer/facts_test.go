package packer

import (
	"context"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/sdnotify/fakestore"
	"github.com/liveupdate/luod/luo/luofake"
	"github.com/liveupdate/luod/luod/internal/manifest"
	"github.com/liveupdate/luod/luod/internal/vault"
)

// The kernel carries neither mode nor owner.
func TestTheManifestHasModeAndOwner(t *testing.T) {
	f := newMemfd(t, 10)
	if err := unix.Fchmod(int(f.Fd()), 0o640); err != nil {
		t.Fatal(err)
	}
	uid, gid := uint32(os.Getuid()), uint32(os.Getgid())
	if uid == 0 {
		uid, gid = 1001, 1002
		if err := unix.Fchown(int(f.Fd()), int(uid), int(gid)); err != nil {
			t.Fatal(err)
		}
	}
	loose, k := newMemfd(t, 10), luofake.New()
	files := []*vault.File{{Unit: "a.service", Name: "private", F: f}, {Unit: "a.service", Name: "loose", F: loose}}
	p, err := Pack(context.Background(), k.LUO(), fakestore.New(), Cargo{
		Units: []Unit{{Name: "a.service", Files: files}}, Superset: map[*vault.File]bool{files[1]: true},
		Manifest: manifest.Manifest{Generation: 1}, Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Settle()
	defer p.Close()
	got := p.Manifest.Units[0].Files
	if got[0].Mode != unix.S_IFREG|0o640 || got[0].UID != uid || got[0].GID != gid || got[0].Superset || !got[1].Superset {
		t.Errorf("%+v", got)
	}
}
