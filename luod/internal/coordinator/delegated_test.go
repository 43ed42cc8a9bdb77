package coordinator

import (
	"fmt"
	"io"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/phase"
	"github.com/liveupdate/luod/luo/luofake"
	"github.com/liveupdate/luod/luod/internal/barrier"
	"github.com/liveupdate/luod/luod/internal/nextkernel"
	"github.com/liveupdate/luod/luod/internal/record"
)

// session makes a session for unit, puts one file into it, and closes it.
func (w *world) session(unit, name, content string) {
	w.t.Helper()
	f, err := w.c.CreateSession(ctx, unit, name)
	if err != nil {
		w.t.Fatal(err)
	}
	m := memfd(w.t, content)
	s := w.kernel.LUO().SessionFromFile(f)
	if err := s.PreserveFD(m, 7); err != nil {
		w.t.Fatal(err)
	}
	m.Close()
	s.Close()
}

// emptied gets the session back with its file, and releases it.
func (w *world) emptied(unit, name, content string) {
	w.t.Helper()
	f, err := w.c.RetrieveSession(ctx, unit, name)
	if err != nil {
		w.t.Fatal(err)
	}
	s := w.kernel.LUO().SessionFromFile(f)
	m, err := s.RetrieveFD(7)
	if err != nil {
		w.t.Fatal(err)
	}
	got, err := io.ReadAll(io.NewSectionReader(m, 0, 100))
	if err != nil || string(got) != content {
		w.t.Fatalf("got %q, %v", got, err)
	}
	m.Close()
	if err := s.Finish(); err != nil {
		w.t.Fatal(err)
	}
	s.Close()
	if err := w.c.ReleaseSession(ctx, unit, name); err != nil {
		w.t.Fatal(err)
	}
}

func TestAUnitFillsItsOwnSession(t *testing.T) {
	w := newWorld(t)
	w.preserve(b, 2)
	w.session(a, "vm", "state")
	// It is the same after a restart of the unit and of luod.
	w.kill()
	w.start()
	f, err := w.c.CreateSession(ctx, a, "vm")
	if err != nil {
		t.Fatal(err)
	}
	s := w.kernel.LUO().SessionFromFile(f)
	m := memfd(t, "x")
	if err := s.PreserveFD(m, 7); err == nil {
		t.Error("it is another session")
	}
	m.Close()
	s.Close()
	_, err = w.c.RetrieveSession(ctx, a, "vm")
	w.expectFault(err, "NoSuchSession")
	// An update that is taken back leaves it as it is.
	w.jumpErr = fmt.Errorf("no")
	w.load()
	if _, err := w.c.LiveUpdate(ctx, record.Options{}); err == nil {
		t.Fatal("it went through")
	}
	w.jumpErr = nil
	if out := w.kernel.Outgoing(); len(out) != 1 {
		t.Fatalf("outgoing: %v", out)
	}
	w.update()
	w.reboot()
	w.expect(phase.Restoring, 1, a, b)
	w.fetch(b, 2)
	w.expect(phase.Restoring, 1, a)
	// Nobody else gets it, and no update may forget it.
	_, err = w.c.RetrieveSession(ctx, b, "vm")
	w.expectFault(err, "NoSuchSession")
	w.expectFault(w.c.ReleaseSession(ctx, b, "vm"), "NoSuchSession")
	_, err = w.c.CreateSession(ctx, a, "vm")
	w.expectFault(err, "SessionWaiting")
	if _, _, err := w.c.Load(ctx, nextkernel.Request{Entry: "/k"}); err != nil {
		t.Fatal(err)
	}
	_, err = w.c.LiveUpdate(ctx, record.Options{})
	w.expectFault(err, "SessionWaiting")
	w.kill()
	w.start()
	w.expect(phase.Restoring, 1, a)
	list, err := w.c.List(ctx)
	if err != nil || len(list) != 3 || list[2].State != "session-waiting" || list[2].Unit != a {
		t.Fatalf("%+v, %v", list, err)
	}
	w.emptied(a, "vm", "state")
	w.expect(phase.Idle, 1)
	if in := w.kernel.Incoming(); len(in) != 0 {
		t.Fatalf("still open: %v", in)
	}
	// And on, with a new one of the same name.
	w.session(a, "vm", "more")
	w.update()
	w.reboot()
	w.fetch(b, 2)
	w.emptied(a, "vm", "more")
	w.expect(phase.Idle, 2)
}

func TestAReleasedSessionHoldsNothing(t *testing.T) {
	w := newWorld(t)
	w.session(a, "vm", "state")
	if err := w.c.ReleaseSession(ctx, a, "vm"); err != nil {
		t.Fatal(err)
	}
	if out := w.kernel.Outgoing(); len(out) != 0 {
		t.Fatalf("outgoing: %v", out)
	}
	w.expectFault(w.c.ReleaseSession(ctx, a, "vm"), "NoSuchSession")
	w.kill()
	w.start()
	w.expect(phase.Idle, 0)
}

func TestSessionsAreBounded(t *testing.T) {
	w := newWorld(t)
	for i := range w.c.Settings.SessionsMax {
		f, err := w.c.CreateSession(ctx, a, fmt.Sprint(i))
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	_, err := w.c.CreateSession(ctx, a, "more")
	w.expectFault(err, "TooMany")
	// All units together have as many as the kernel takes.
	w.kernel.FailNext(luofake.CreateSession, unix.ENOSPC)
	_, err = w.c.CreateSession(ctx, b, "one more")
	w.expectFault(err, "TooMany")
	if s := w.status(); s.Phase != phase.Idle || s.LastError != "" {
		t.Errorf("%+v", s)
	}
	_, err = w.c.CreateSession(ctx, b, "a:b")
	w.expectFault(err, "BadName")
	w.kernel.FailNext(luofake.CreateSession, unix.ENOMEM)
	_, err = w.c.CreateSession(ctx, b, "x")
	w.expectFault(err, "SessionFailed")
	f, err := w.c.CreateSession(ctx, b, "x")
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}

// The kernel carries a session whether its unit is ready or not.
func TestWhoHasASessionIsNotLeftBehind(t *testing.T) {
	w := newWorld(t)
	w.session(a, "vm", "state")
	w.register(a, record.Registration{Optional: true})
	w.begin()
	if err := w.c.Fail(ctx, a, "no"); err != nil {
		t.Fatal(err)
	}
	s := w.until(phase.Idle)
	if s.LastError == "" || len(s.LeftBehind) > 0 || s.Services != nil && s.Services[0].State == barrier.Failed {
		t.Fatalf("%+v", s)
	}
	w.stillThere(a, "vm")
}

// stillThere sees that the session still holds its file.
func (w *world) stillThere(unit, name string) {
	w.t.Helper()
	f, err := w.c.CreateSession(ctx, unit, name)
	if err != nil {
		w.t.Fatal(err)
	}
	f.Close()
	if out := w.kernel.Outgoing(); len(out) != 1 {
		w.t.Fatalf("outgoing: %v", out)
	}
}
