package fakepid1_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/luod/internal/pid1/fakepid1"
	"github.com/liveupdate/luod/vmtest/systemdtest/rules"
)

// TestRules runs the rules of PID 1 on the fake one; package systemdtest runs the same on the real one, in these
// versions.
func TestRules(t *testing.T) {
	for _, version := range []int{257, 262} {
		t.Run(fmt.Sprint(version), func(t *testing.T) {
			one := newFake(t, version)
			for i, r := range rules.All() {
				t.Run(r.Name, func(t *testing.T) {
					system := one
					if r.Ends {
						system = newFake(t, version)
					}
					r.Run(t, system, i)
				})
			}
		})
	}
}

// fake is a system whose services are callbacks.
type fake struct {
	*fakepid1.Manager
	mu       sync.Mutex
	services map[string]*service
	noted    map[string][]rules.Entry
}

// service is what the storer is in a real system.
type service struct {
	*fakepid1.Process
	passed []rules.Entry
	files  map[string]*os.File
	others map[string]*os.File
	last   rules.Order
}

func newFake(t *testing.T, version int) *fake {
	f := &fake{Manager: fakepid1.New(version), services: map[string]*service{}, noted: map[string][]rules.Entry{}}
	t.Cleanup(func() {
		f.Close()
		for _, s := range f.services {
			s.close()
		}
	})
	for _, u := range rules.Units() {
		if err := f.Define(u); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

func (f *fake) Define(u rules.Unit) error {
	unit := fakepid1.Unit{
		Name: u.Name, StoreMax: u.StoreMax, Preserve: u.Preserve, Restart: u.Restart,
		Wants: u.Wants, Requires: u.Requires, BindsTo: u.BindsTo, PartOf: u.PartOf, After: u.After,
	}
	if strings.HasSuffix(u.Name, ".service") {
		unit.Start, unit.Stop = f.start, func(p *fakepid1.Process) error { return f.stop(p, u.Witness) }
	}
	if u.FailStart {
		unit.StartPre = func(*fakepid1.Process) error { return errors.New("exit code 1") }
	}
	if u.StopPost {
		unit.StopPost = func(p *fakepid1.Process) error { f.note(p.Unit, p.Unit); return nil }
	}
	f.Manager.Define(unit)
	return nil
}

func (f *fake) start(p *fakepid1.Process) error {
	s := &service{Process: p, files: map[string]*os.File{}, others: map[string]*os.File{}}
	for _, e := range p.Listen() {
		entry, err := describe(e.Name, e.File)
		e.File.Close()
		if err != nil {
			return err
		}
		s.passed = append(s.passed, entry)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.services[p.Unit] = s
	return nil
}

func (f *fake) stop(p *fakepid1.Process, witness string) error {
	if witness != "" {
		f.note(p.Unit, witness)
	}
	s := f.service(p.Unit)
	defer s.close()
	err := s.do(s.last)
	if s.last.Code != 0 {
		err = errors.New("exit code")
	}
	return err
}

func (f *fake) service(unit string) *service {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.services[unit]
}

func (s *service) close() {
	for _, files := range []map[string]*os.File{s.files, s.others} {
		for _, f := range files {
			f.Close()
		}
	}
}

func (f *fake) Do(verb string, units ...string) error {
	switch verb {
	case "daemon-reload", "daemon-reexec":
		f.Reload()
	case "reset-failed":
		for _, u := range units {
			f.ResetFailed(u)
		}
	case "start":
		_ = f.Start(ctx, units) // a start that fails is no error here
	case "restart":
		_ = f.Restart(ctx, units...)
	case "stop":
		return f.Stop(ctx, units)
	default:
		return fmt.Errorf("do %s: unknown verb", verb)
	}
	return nil
}

func (f *fake) Tell(unit string, o rules.Order) (rules.Answer, error) {
	s := f.service(unit)
	if s == nil {
		return rules.Answer{}, fmt.Errorf("tell %s something: it doesn't run", unit)
	}
	a := rules.Answer{Passed: s.passed, Inodes: map[string]uint64{}}
	err := s.make(o.Files)
	if err == nil && o.AtStop {
		s.last = o
	} else if err == nil {
		err = s.do(o)
	}
	for label, file := range s.files {
		if e, err := describe(label, file); err == nil {
			a.Inodes[label] = e.Inode
		}
	}
	if err == nil && o.Exit && !o.AtStop {
		var failed error
		if o.Code != 0 {
			failed = errors.New("exit code")
		}
		s.close()
		err = f.Exit(ctx, unit, failed)
	}
	return a, err
}

func (s *service) make(files []rules.File) error {
	for _, f := range files {
		if s.files[f.Label] != nil {
			continue
		}
		if f.Pair {
			fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				return err
			}
			s.files[f.Label], s.others[f.Label] = os.NewFile(uintptr(fds[0]), f.Label), os.NewFile(uintptr(fds[1]), f.Label)
			continue
		}
		fd, err := unix.MemfdCreate(f.Label, unix.MFD_CLOEXEC)
		if err != nil {
			return err
		}
		s.files[f.Label] = os.NewFile(uintptr(fd), f.Label)
	}
	return nil
}

func (s *service) do(o rules.Order) error {
	if o.HangUp != "" {
		return s.others[o.HangUp].Close()
	}
	if o.Remove != "" {
		if err := s.Remove(o.Remove); err != nil {
			return err
		}
	}
	var files []*os.File
	for _, f := range o.Files {
		file := s.files[f.Label]
		if f.Reopen {
			again, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", file.Fd()))
			if err != nil {
				return err
			}
			defer again.Close()
			file = again
		}
		files = append(files, file)
	}
	push := s.Push
	if o.Poll {
		push = s.PushPolled
	}
	return errors.Join(push(o.Push, files...), s.Barrier(ctx))
}

func describe(name string, f *os.File) (rules.Entry, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return rules.Entry{}, err
	}
	flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
	return rules.Entry{Name: name, Inode: st.Ino, ReadOnly: flags&unix.O_ACCMODE == unix.O_RDONLY}, err
}

func (f *fake) store(unit string) (entries []rules.Entry) {
	for _, s := range f.Store(unit) {
		entries = append(entries, rules.Entry{Name: s.Name, Inode: s.Inode, ReadOnly: s.Flags&unix.O_ACCMODE == unix.O_RDONLY})
	}
	return entries
}

func (f *fake) Look(unit string) (rules.View, error) {
	store := f.store(unit) // notices what has hung up
	s := f.State(unit)
	return rules.View{Loaded: s.Loaded, Active: s.Active, Sub: s.Sub, InvocationID: s.InvocationID, Store: store}, nil
}

func (f *fake) note(by, unit string) {
	store := f.store(unit)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.noted[by] = store
}

func (f *fake) Noted(unit string) ([]rules.Entry, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	entries, done := f.noted[unit]
	if !done {
		return nil, fmt.Errorf("%s has noted nothing", unit)
	}
	return slices.Clone(entries), nil
}

func (f *fake) Shutdown() error { return f.Manager.Shutdown(ctx) }

func (f *fake) SoftReboot() error { return f.Manager.SoftReboot(ctx) }
