package coordinator

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/phase"
	"github.com/liveupdate/luod/luod/internal/manifest"
	"github.com/liveupdate/luod/luod/internal/packer"
	"github.com/liveupdate/luod/luod/internal/pid1"
	"github.com/liveupdate/luod/luod/internal/record"
)

// declare writes a unit file.
func (w *world) declare(unit, section string) {
	w.t.Helper()
	if w.units == nil {
		w.units = map[string]string{}
	}
	w.units[unit] = filepath.Join(w.t.TempDir(), unit)
	if err := os.WriteFile(w.units[unit], []byte("[Unit]\n[X-LiveUpdate]\n"+section), 0o644); err != nil {
		w.t.Fatal(err)
	}
}

func TestDeclaredServicesTakePart(t *testing.T) {
	w := newWorld(t)
	w.declare(a, "Preserve=dbus\nTimeoutSec=7\n")
	w.declare(b, "Preserve=dbus\nTimeoutSec=20\nOnFailure=ignore\nAfter=a.service\n")
	w.declare(d, "Preserve=fdstore\n") // nobody asks it
	w.units["gone.service"] = "/nonexistent/gone.service"
	w.preserve(a, 2)
	w.preserve(b, 2)
	w.preserve(d, 2)
	w.register(b, record.Registration{Timeout: 3 * time.Second})
	w.begin()
	w.expectTold("prepare by 300", "a.service prepare by 7")
	w.ready(a)
	w.expectTold("b.service prepare by 3")
	w.clock.advance(4 * time.Second)
	w.until(phase.Committed)
	w.reboot()
	w.fetch(a, 2)
	w.look(b, 0)
	w.fetch(d, 2)
}

func TestADeclaredServiceThatStoppedIsNotAsked(t *testing.T) {
	w := newWorld(t)
	w.declare(a, "Preserve=dbus\n")
	w.running[a] = pid1.Running{State: "deactivating"}
	w.update()
}

func TestABadDeclarationIsRefusedBeforeAnybodyIsAsked(t *testing.T) {
	w := newWorld(t)
	w.preserve(a, 2)
	w.declare(a, "Preserve=dbus\nTimeoutSec=soon\n")
	w.load()
	for _, dry := range []bool{true, false} {
		_, err := w.c.LiveUpdate(ctx, record.Options{DryRun: dry})
		w.expectFault(err, "BadDeclaration")
		if !strings.Contains(err.Error(), w.units[a]+":4: TimeoutSec=soon") {
			t.Errorf("got %v", err)
		}
	}
	w.asBefore("TimeoutSec=soon", a)
	w.expectTold()
}

// A unit may ask for checksums of its own; the others are left alone.
func TestADeclaredServiceHasItsChecksums(t *testing.T) {
	w := newWorld(t)
	w.declare(a, "Preserve=fdstore\nVerify=sha256\n")
	for _, unit := range []string{a, b} {
		f := memfd(t, unit+"/fd-0")
		if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_GROW|unix.F_SEAL_SHRINK); err != nil {
			t.Fatal(err)
		}
		if err := w.c.Preserve(ctx, unit, []string{"fd-0"}, []*os.File{f}); err != nil {
			t.Fatal(err)
		}
	}
	w.update()
	m, err := locked(ctx, w.c, func() (*manifest.Manifest, error) { return w.c.outgoing.(*packer.Packed).Manifest, nil })
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range m.Units {
		if has := u.Files[0].SHA256 != ""; has != (u.Name == a) {
			t.Errorf("%s has a checksum: %t", u.Name, has)
		}
	}
	w.reboot()
	w.fetch(a, 1)
	w.fetch(b, 1)
}
