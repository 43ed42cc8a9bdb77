package restorer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/luo"
	"github.com/liveupdate/luod/luod/internal/manifest"
	"github.com/liveupdate/luod/luod/internal/packer"
	"github.com/liveupdate/luod/luod/internal/vault"
)

// Store is luod's own fd store.
type Store interface {
	Push(name string, files ...*os.File) error
	Barrier(ctx context.Context) error
}

// ErrNothing says that the kernel holds no manifest: this boot is no live
// update, or its sessions were finished before.
var ErrNothing = errors.New("the previous kernel handed nothing over to luod")

// ErrTaken says that this boot's manifest was retrieved before and is gone.
var ErrTaken = errors.New("the manifest's session was retrieved before in this boot and closed: what it named can't be found any more")

// Restored is what came back. Whoever has it owns every session and file in it.
type Restored struct {
	Manifest *manifest.Manifest
	// Session is the manifest's. As long as it is open, Restore can run again.
	Session *luo.Session
	// Sessions are those of the manifest that are still open, by name.
	Sessions map[string]*luo.Session
	// Files are those that came back whole, in the manifest's order.
	Files []File
	// Lost are those that did not, each with its reason.
	Lost []Loss
	// Changed are those of Files that are not wholly as they were.
	Changed []Change
}

// Change is what is different of a descriptor that came back.
type Change struct {
	Unit string
	Name string
	// Note ends a sentence that begins with "came back".
	Note string
}

// File is one descriptor that came back, with its flags restored.
type File struct {
	Unit string
	Name string
	F    *os.File
}

// Loss is one descriptor that did not come back, or not as it went.
type Loss struct {
	Unit   string `json:"unit"`
	Name   string `json:"name"`
	Reason string `json:"reason"`
	// Discarded says that an administrator has given it up.
	Discarded bool `json:"discarded,omitempty"`
}

// Source is where things come back from.
type Source struct {
	Kernel *luo.Kernel
	Store  Store
	// Have says which files the vault already holds: those aren't asked for again.
	Have func(unit, name string) bool
	// Delegated says whether to take over the sessions that units empty themselves.
	Delegated bool
	// Room says why there is no memory for so many bytes more; nil asks nobody.
	Room func(bytes int64) error
	// Patience is how long to wait for whoever else has the device open.
	Patience time.Duration
}

// Restore retrieves the manifest and all that it names. back holds the sessions
// that came through the fd store, by name: a killed luod's, or PID 1's where it
// carries fd stores itself (systemd ≥ 261); Restore owns them from the call on.
//
// With an error the manifest couldn't be had or read, or the device couldn't be
// opened, and every session that was opened stays open in the fd store (Restored then
// has only sessions, in a map that is there). EBUSY says that somebody else has the
// device open.
//
// Killed between a retrieval and the push that follows it: that session is
// finished by the kernel and its files are gone. There are no other system calls
// between the two. Killed anywhere else: the sessions are in the fd store and
// the next start runs Restore again.
func (from Source) Restore(ctx context.Context, back map[string]*luo.Session) (*Restored, error) {
	r := &Restored{Sessions: back}
	if r.Sessions == nil {
		r.Sessions = map[string]*luo.Session{}
	}
	d := &opener{kernel: from.Kernel, patience: from.Patience}
	defer d.close()
	failed, err := r.sessions(ctx, d, from.Store, manifest.SessionName)
	if err != nil {
		return r, fmt.Errorf("retrieve the manifest's session: %w", err)
	}
	switch err := failed[manifest.SessionName]; {
	case errors.Is(err, unix.ENOENT):
		return r, ErrNothing
	case errors.Is(err, unix.EINVAL):
		return r, ErrTaken
	case err != nil:
		return r, fmt.Errorf("retrieve the manifest's session: %w", err)
	}
	r.Session = r.Sessions[manifest.SessionName]
	delete(r.Sessions, manifest.SessionName)
	f, err := r.Session.RetrieveFD(manifest.Token)
	if err != nil {
		return r, fmt.Errorf("retrieve the manifest: %w", err)
	}
	defer f.Close()
	if r.Manifest, err = manifest.Decode(io.NewSectionReader(f, 0, manifest.MaxSize+256)); err != nil {
		return r, err
	}
	results, wanted := r.wanted(from.Have)
	if from.Delegated {
		for _, u := range r.Manifest.Units {
			for _, d := range u.Sessions {
				wanted = append(wanted, d.Session)
			}
		}
	}
	if failed, err = r.sessions(ctx, d, from.Store, wanted...); err != nil {
		return r, fmt.Errorf("retrieve the manifest's other sessions: %w", err)
	}
	d.close()
	if from.Delegated {
		for _, u := range r.Manifest.Units {
			for _, d := range u.Sessions {
				if err := failed[d.Session]; err != nil {
					r.Lost = append(r.Lost, Loss{Unit: u.Name, Name: d.Name, Reason: fmt.Sprintf("its session could not be retrieved: %v", err)})
				}
			}
		}
	}
	if err := from.Store.Barrier(ctx); err != nil {
		return r, fmt.Errorf("make the sessions safe: %w", err)
	}
	r.files(&copier{room: from.Room}, results, failed)
	return r, nil
}

// result is one of the manifest's files and what came of it.
type result struct {
	unit string
	want manifest.File
	f    *os.File
	note string
	err  error
}

// wanted lists the manifest's files, but those that have answers for, and the
// sessions that they lie in.
func (r *Restored) wanted(have func(unit, name string) bool) (results []*result, sessions []string) {
	seen := map[string]bool{}
	for _, u := range r.Manifest.Units {
		for _, want := range u.Files {
			if have(u.Name, want.Name) {
				continue
			}
			results = append(results, &result{unit: u.Name, want: want})
			if !seen[want.Session] {
				seen[want.Session] = true
				sessions = append(sessions, want.Session)
			}
		}
	}
	return results, sessions
}

// opener opens the device when it is needed first, and keeps it: somebody else could
// open it in between.
type opener struct {
	kernel   *luo.Kernel
	patience time.Duration
	device   *luo.Device
}

func (o *opener) open(ctx context.Context) error {
	if o.device != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, o.patience)
	defer cancel()
	var err error
	o.device, err = o.kernel.Open(ctx)
	return err
}

func (o *opener) close() {
	if o.device != nil {
		o.device.Close()
		o.device = nil
	}
}

// sessions makes sure of the open sessions of these names, from the fd store or
// from the kernel; a fresh one is in the fd store before anything else is done. It
// returns what failed by name, or why the device can't be opened.
func (r *Restored) sessions(ctx context.Context, d *opener, store Store, names ...string) (map[string]error, error) {
	failed := map[string]error{}
	for _, name := range names {
		if r.Sessions[name] != nil {
			continue
		}
		if err := d.open(ctx); err != nil {
			return nil, err
		}
		s, err := d.device.RetrieveSession(name)
		if err == nil {
			err = store.Push(name, s.File())
			// Even if the push failed this process still holds it.
			r.Sessions[name] = s
		}
		if err != nil {
			failed[name] = err
		}
	}
	return failed, nil
}

// atOnce bounds how many sessions are read at a time; the kernel has more locks in
// common than that would help.
const atOnce = 8

// files retrieves the files of results. Sessions are independent of each other and
// are read at the same time, each in the manifest's order; what comes of it is in the
// manifest's order too.
func (r *Restored) files(c *copier, results []*result, failed map[string]error) {
	var sessions []string
	bySession := map[string][]*result{}
	for _, one := range results {
		session := one.want.Session
		if one.err = failed[session]; one.err != nil {
			continue
		}
		if bySession[session] == nil {
			sessions = append(sessions, session)
		}
		bySession[session] = append(bySession[session], one)
	}
	var next atomic.Int64
	var readers sync.WaitGroup
	for range min(len(sessions), runtime.GOMAXPROCS(0), atOnce) {
		readers.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(sessions); i = int(next.Add(1)) - 1 {
				s := r.Sessions[sessions[i]]
				for _, one := range bySession[sessions[i]] {
					one.f, one.note, one.err = c.retrieve(s, one.want)
				}
			}
		})
	}
	readers.Wait()
	for _, one := range results {
		if one.err != nil {
			r.Lost = append(r.Lost, Loss{Unit: one.unit, Name: one.want.Name, Reason: one.err.Error()})
			continue
		}
		r.Files = append(r.Files, File{Unit: one.unit, Name: one.want.Name, F: one.f})
		if one.note != "" {
			r.Changed = append(r.Changed, Change{Unit: one.unit, Name: one.want.Name, Note: one.note})
		}
	}
}

// retrieve gets one file and refuses one that isn't what the manifest says. The note
// says what of it had to stay otherwise than it was.
func (c *copier) retrieve(s *luo.Session, want manifest.File) (_ *os.File, note string, err error) {
	f, err := s.RetrieveFD(want.Token)
	if err != nil {
		return nil, "", err
	}
	facts, err := vault.Look(f)
	if err == nil {
		err = verify(f, facts, want)
	}
	if err == nil {
		f, note, err = c.as(f, facts, want)
	}
	if err != nil {
		f.Close()
		return nil, "", err
	}
	f, err = asBefore(f, want.Flags)
	return f, note, err
}

// as makes f what it was, or a copy of it that is, and returns the one to use; the
// other is closed.
func (c *copier) as(f *os.File, facts vault.Facts, want manifest.File) (_ *os.File, note string, err error) {
	if !hardened(facts, want) {
		return f, "", own(f, want.Mode, want)
	}
	var fresh *os.File
	why := errNoMemory
	if !want.Superset {
		if fresh, why = c.copy(f, want); why == nil {
			f.Close()
			return fresh, "", nil
		}
	}
	// More seals change nothing for who can't write to it anyway.
	if want.Seals&unix.F_SEAL_WRITE == 0 {
		return f, "", fmt.Errorf("it came back with the seals %#x instead of %#x, and a copy of it can't be made; it stays in the session %s and is given to nobody: %w", facts.Seals, want.Seals, want.Session, why)
	}
	note = fmt.Sprintf("with the seals %#x instead of %#x", facts.Seals, want.Seals)
	mode := reachable(facts.Mode, want)
	if want.Mode != 0 && mode != want.Mode {
		note += fmt.Sprintf(" and the mode %#o instead of %#o", mode&0o7777, want.Mode&0o7777)
	}
	return f, fmt.Sprintf("%s (%v)", note, why), own(f, mode, want)
}

// verify refuses what isn't what was preserved. Of the seals it allows those that the
// kernel adds, which as deals with.
func verify(f *os.File, facts vault.Facts, want manifest.File) error {
	seals := want.Seals
	if seals&unix.F_SEAL_EXEC != 0 && facts.Seals != seals {
		seals |= added
	}
	switch {
	case facts.Size != want.Size:
		return fmt.Errorf("it came back with %d bytes instead of %d; it stays in the session %s and is given to nobody", facts.Size, want.Size, want.Session)
	case facts.Seals != seals:
		return fmt.Errorf("it came back with the seals %#x instead of %#x; it stays in the session %s and is given to nobody", facts.Seals, want.Seals, want.Session)
	}
	if want.SHA256 != "" {
		sum, err := packer.Sum(f, facts.Size)
		if err != nil {
			return err
		}
		if sum != want.SHA256 {
			return fmt.Errorf("its SHA-256 is %s instead of %s; it stays in the session %s and is given to nobody", sum, want.SHA256, want.Session)
		}
	}
	return nil
}
