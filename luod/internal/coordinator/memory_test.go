package coordinator

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/phase"
	"github.com/liveupdate/luod/internal/sdnotify/fakestore"
	"github.com/liveupdate/luod/kexec/verdict"
	"github.com/liveupdate/luod/luod/internal/fault"
	"github.com/liveupdate/luod/luod/internal/manifest"
	"github.com/liveupdate/luod/luod/internal/memory"
	"github.com/liveupdate/luod/luod/internal/nextkernel"
	"github.com/liveupdate/luod/luod/internal/record"
	"github.com/liveupdate/luod/luod/internal/report"
	"github.com/liveupdate/luod/luod/internal/restorer"
)

const gib = 1 << 30

// sparse is a memfd that takes size bytes when its holes are filled.
func sparse(t *testing.T, size int64) *os.File {
	t.Helper()
	f := memfd(t, "")
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	return f
}

func (w *world) has(total, free int64) {
	w.c.Memory = func() (memory.Available, error) { return memory.Available{Total: total, Free: free}, nil }
}

// Anybody may hand over a memfd of a terabyte that takes no memory at all until it is
// packed.
func TestNobodyTakesTheMachineDown(t *testing.T) {
	const cron = "cron.service"
	w := newWorld(t)
	w.has(8*gib, 6*gib)
	w.preserve(a, 1)
	if err := w.c.Preserve(ctx, cron, []string{"huge"}, []*os.File{sparse(t, 1<<40)}); err != nil {
		t.Fatal(err)
	}
	w.load()
	for what, options := range map[string]record.Options{"rehearsed": {DryRun: true}, "for real": {}, "fast": {Fast: true}} {
		_, err := w.c.LiveUpdate(ctx, options)
		var refused *fault.Fault
		if !errors.As(err, &refused) || refused.Name != "NotEnoughMemory" || !strings.Contains(err.Error(), cron) || !strings.Contains(err.Error(), `"huge"`) {
			t.Errorf("%s: got %v", what, err)
		}
		if s := w.status(); s.Phase != phase.Idle || s.LastError != "" || len(w.signals) != 0 || len(w.kernel.Outgoing()) != 0 {
			t.Errorf("%s: %s, %q, told %v, preserved %v", what, s.Phase, s.LastError, w.signals, w.kernel.Outgoing())
		}
	}
	report, err := w.c.Check(ctx, nextkernel.Request{Entry: "/k"})
	if err != nil {
		t.Fatal(err)
	}
	last := report.Results[len(report.Results)-1]
	if last.Name != "service-memory" || last.Verdict != verdict.Fail || !strings.Contains(last.Reason, cron) {
		t.Errorf("%+v", last)
	}
	// And without it all is as ever.
	if err := w.c.Discard(ctx, cron, nil); err != nil {
		t.Fatal(err)
	}
	w.update()
}

// What is handed over after the update has begun counts too: it is looked at again before
// anybody is stopped, and before it is packed.
func TestMemoryIsCountedAgainBeforeItIsPacked(t *testing.T) {
	for last := 2; last <= 3; last++ {
		w := newWorld(t)
		w.has(8*gib, 6*gib)
		w.preserve(a, 1)
		w.load()
		looks := 0
		w.c.Memory = func() (memory.Available, error) {
			if looks++; looks == last {
				return memory.Available{Total: 8 * gib, Free: 1 << 20}, nil
			}
			return memory.Available{Total: 8 * gib, Free: 6 * gib}, nil
		}
		_, err := w.c.LiveUpdate(ctx, record.Options{})
		var refused *fault.Fault
		if !errors.As(err, &refused) || refused.Name != "NotEnoughMemory" {
			t.Errorf("look %d: got %v", last, err)
		}
		if s := w.status(); s.Phase != phase.Idle || len(w.kernel.Outgoing()) != 0 || looks != last {
			t.Errorf("%s, preserved %v, looked %d times", s.Phase, w.kernel.Outgoing(), looks)
		}
	}
}

// Where there is no memory for a copy and nobody can write to the contents anyway, the
// report says what changed.
func TestTheReportTellsOfMoreSeals(t *testing.T) {
	fd, err := unix.MemfdCreate("t", unix.MFD_CLOEXEC|unix.MFD_NOEXEC_SEAL)
	if err != nil {
		t.Skipf("this kernel has no MFD_NOEXEC_SEAL: %v", err)
	}
	f := os.NewFile(uintptr(fd), "memfd")
	if _, err := f.Write(make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_WRITE); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	if err := w.c.Preserve(ctx, a, []string{"sealed"}, []*os.File{f}); err != nil {
		t.Fatal(err)
	}
	w.has(gib, gib/20+100<<10) // 100 KiB more than stays free
	w.load()
	w.update()
	w.reboot()
	r := w.readReport(0)
	if len(r.Files) != 1 || r.Files[0].Outcome != "preserved" || !strings.Contains(r.Files[0].Reason, "with the seals") {
		t.Errorf("%+v", r.Files)
	}
	if s := w.status(); len(s.Lost) != 0 {
		t.Errorf("lost %+v", s.Lost)
	}
}

func TestAChangeIsInTheReport(t *testing.T) {
	m := &manifest.Manifest{Units: []manifest.Unit{{Name: a, Files: []manifest.File{{Name: "x"}, {Name: "y"}}}}}
	r := report.Compose(m, "7.3", nil, restorer.Change{Unit: a, Name: "y", Note: "with the mode 0711"})
	if r.Files[0].Reason != "" || r.Files[1].Reason != "with the mode 0711" || r.Files[1].Outcome != "preserved" {
		t.Errorf("%+v", r.Files)
	}
}

// A copy that can't be made for want of memory is made by the next start.
func TestWhatHadNoRoomComesBackLater(t *testing.T) {
	fd, err := unix.MemfdCreate("t", unix.MFD_CLOEXEC|unix.MFD_NOEXEC_SEAL)
	if err != nil {
		t.Skipf("this kernel has no MFD_NOEXEC_SEAL: %v", err)
	}
	f := os.NewFile(uintptr(fd), "memfd")
	if _, err := f.WriteString(a + "/fd-0"); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	if err := w.c.Preserve(ctx, a, []string{"fd-0"}, []*os.File{f}); err != nil {
		t.Fatal(err)
	}
	w.load()
	w.update()
	config := w.c.Config
	next, err := w.kernel.Kexec()
	if err != nil {
		t.Fatal(err)
	}
	w.kill()
	w.store.Close()
	w.kernel, w.store, w.loaded, w.record = next, fakestore.New(), false, filepath.Join(t.TempDir(), "record.json")
	config.Kernel, config.Store, config.Record = next.LUO(), w.store, w.record
	config.Memory = func() (memory.Available, error) { return memory.Available{Total: gib, Free: 0}, nil }
	if w.c, err = Start(ctx, config, w.store.Listen()); err != nil {
		t.Fatal(err)
	}
	if s := w.status(); len(s.Lost) != 1 || !strings.Contains(s.Lost[0].Reason, "there is no memory for it") {
		t.Errorf("lost %+v", s.Lost)
	}
	w.kill()
	w.start()
	if s := w.status(); len(s.Lost) != 0 {
		t.Errorf("lost %+v", s.Lost)
	}
	w.fetch(a, 1)
	w.expect(phase.Idle, 1)
	if r := w.readReport(0); len(r.Files) != 1 || r.Files[0].Outcome != "preserved" || r.Files[0].Reason != "" {
		t.Errorf("%+v", r.Files)
	}
}
