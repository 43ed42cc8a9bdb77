package coordinator

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/internal/entryname"
	"github.com/liveupdate/luod/internal/phase"
	"github.com/liveupdate/luod/internal/sdnotify"
	"github.com/liveupdate/luod/luod/internal/catalog"
	"github.com/liveupdate/luod/luod/internal/fault"
	"github.com/liveupdate/luod/luod/internal/record"
	"github.com/liveupdate/luod/luod/internal/vault"
)

// Preserve takes files over for unit under names, all or none. On success the
// coordinator owns the files; on an error the caller does. The error is Retrieve's as
// long as nobody knows whether the unit has something under these names.
func (c *Coordinator) Preserve(ctx context.Context, unit string, names []string, files []*os.File) error {
	unlock, err := c.LockHoldings(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := c.Kernel.Probe(); err != nil {
		return fault.New(errorname.NotSupported, "%s can't have anything preserved: %w", unit, err)
	}
	if err := c.missingLocked(unit); err != nil {
		return err
	}
	if err := c.steadyLocked("take file descriptors over"); err != nil {
		return err
	}
	for _, name := range names {
		if err := sdnotify.CheckName(name); err != nil {
			return &vault.Refusal{Reason: vault.InvalidName, Text: err.Error()}
		}
	}
	if err := c.vault.Add(context.WithoutCancel(ctx), unit, names, files); err != nil {
		return err
	}
	c.tookLocked(unit, len(files))
	c.showLocked() // the vault keeps them, and the record has nothing of it
	return nil
}

// tookInterval is how often a unit that hands over again and again is in the log.
const tookInterval = time.Second

// tookLocked logs what a unit handed over: at once, and what comes in the interval after
// that as one line, since dbus-daemon allows few descriptors in a call.
func (c *Coordinator) tookLocked(unit string, count int) {
	if _, more := c.taken[unit]; more {
		c.taken[unit] += count
		return
	}
	if c.taken == nil {
		c.taken = map[string]int{}
	}
	c.taken[unit] = 0
	c.Log.Info("took file descriptors over", "unit", unit, "count", count)
	c.Clock.AfterFunc(tookInterval, func() {
		unlock, err := c.Lock(context.Background())
		if err != nil {
			return
		}
		defer unlock()
		if more := c.taken[unit]; more > 0 {
			c.Log.Info("took more file descriptors over", "unit", unit, "count", more)
		}
		delete(c.taken, unit)
	})
}

// Release gives up the unit's files of these names, or all if there are none.
//
// Killed before the record says so: one that lies in an incoming session is back
// after the next start, and the unit, which got no answer, releases it again.
func (c *Coordinator) Release(ctx context.Context, unit string, names []string) error {
	unlock, err := c.LockHoldings(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := c.steadyLocked("give file descriptors up"); err != nil {
		return err
	}
	if err := c.copiedLocked(unit, "give file descriptors up"); err != nil {
		return err
	}
	if err := c.vault.Remove(context.WithoutCancel(ctx), unit, names); err != nil {
		return err
	}
	c.Log.Info("gave file descriptors up", "unit", unit, "count", len(names))
	if len(names) == 0 {
		names = c.awaitedLocked(unit)
	}
	c.releaseLocked(unit, names)
	return c.SaveLocked()
}

// steadyLocked refuses what would change the cargo while it is packed or on its way.
func (c *Coordinator) steadyLocked(what string) error {
	if c.Rec.Phase.Frozen() {
		return fault.New(errorname.Busy, "%s: a live update is under way (%s); try again when it is over", what, c.Rec.Phase)
	}
	return nil
}

// copiedLocked refuses to give up what a unit has here once its fd store was copied for the
// update under way: what luod had already was not taken once more.
func (c *Coordinator) copiedLocked(unit, what string) error {
	if u := c.update; u != nil && u.adoption != nil && u.adoption.units[unit] {
		return fault.New(errorname.Busy, "%s: the fd store of %s was copied for a live update that is under way, and may need it; try again when it is over", what, unit)
	}
	return nil
}

// Fetch is a unit's descriptors on their way to it; whoever has one owns Files.
type Fetch struct {
	Names []string
	Files []*os.File
}

// Retrieve returns duplicates of the unit's files of these names, or of all if
// there are none. The unit keeps them preserved. Call Fetched once the unit has
// them. What only luod-reissue can put back is not among them. As long as nobody can
// say what the unit has, it is a Fault: NotRestored if that will be known soon, else
// Degraded.
func (c *Coordinator) Retrieve(ctx context.Context, unit string, names []string) (Fetch, error) {
	for _, name := range names {
		if entryname.OfNoUse(name) {
			return Fetch{}, &vault.Refusal{Reason: vault.NoSuchName, Text: fmt.Sprintf("%q is put back by luod-reissue, and given to nobody else", name)}
		}
	}
	return c.retrieve(ctx, unit, names, func(name string) bool { return !entryname.OfNoUse(name) })
}

// retrieve is Retrieve of the files whose names are given.
func (c *Coordinator) retrieve(ctx context.Context, unit string, names []string, given func(name string) bool) (Fetch, error) {
	if err := c.claim(ctx, unit); err != nil {
		return Fetch{}, err
	}
	unlock, err := c.Lock(ctx)
	if err != nil {
		return Fetch{}, err
	}
	defer unlock()
	if err := c.missingLocked(unit); err != nil {
		c.turnAwayLocked(unit)
		return Fetch{}, err
	}
	files, err := c.vault.Select(unit, names)
	if err != nil {
		return Fetch{}, err
	}
	var fetch Fetch
	for _, f := range files {
		if !given(f.Name) {
			continue
		}
		fd, err := unix.FcntlInt(f.F.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			fetch.Close()
			return Fetch{}, fmt.Errorf("duplicate %q of %s: %w", f.Name, unit, err)
		}
		fetch.Names = append(fetch.Names, f.Name)
		fetch.Files = append(fetch.Files, os.NewFile(uintptr(fd), f.Name))
	}
	return fetch, nil
}

// Reissue is Retrieve of everything for luod-reissue, with which a start of the unit
// begins.
func (c *Coordinator) Reissue(ctx context.Context, unit string) (Fetch, error) {
	if err := c.starting(ctx, unit); err != nil {
		return Fetch{}, err
	}
	return c.retrieve(ctx, unit, nil, func(string) bool { return true })
}

// Close closes the duplicates.
func (f Fetch) Close() {
	for _, file := range f.Files {
		file.Close()
	}
}

// Fetched says that the unit has its files of these names. When it has all of
// them, the sessions they came in are finished. What came out of the unit's fd store it
// has when PID 1 has it; the error (NotInStore) names what PID 1 has not, and that
// counts as not fetched.
//
// Killed before it is written down: the unit's next start fetches once more, or, if
// PID 1 has all of it, luod sees that there.
func (c *Coordinator) Fetched(ctx context.Context, unit string, names []string) error {
	stores, err := c.storeFor(ctx, unit, names)
	if err != nil {
		return err
	}
	unlock, err := c.LockHoldings(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	there, missing := c.arrivedInLocked(unit, names, stores)
	if err := c.missingLocked(unit); err != nil {
		return err // or it would wait for the unit for ever
	}
	// What a service asks for itself over D-Bus says nothing of its store.
	if slices.ContainsFunc(names, entryname.Adopted) {
		c.noteBackLocked(unit, there)
		c.settledLocked(unit)
	}
	c.fetchedLocked(unit, there)
	if err := c.SaveLocked(); err != nil {
		return err
	}
	if len(missing) > 0 {
		return fault.New(errorname.NotInStore, "%s has not got %s into its fd store: PID 1 closes what exceeds FileDescriptorStoreMax= of the unit without a word; luod keeps everything, raise it and start the unit again", unit, plainly(missing))
	}
	return nil
}

// noteBackLocked notes which of a unit's entries PID 1 had for the start that is under way.
func (c *Coordinator) noteBackLocked(unit string, names []string) {
	back := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !entryname.Adopted(name) })
	if len(back) == 0 {
		return
	}
	if c.Rec.Back == nil {
		c.Rec.Back = map[string][]string{}
	}
	c.Rec.Back[unit] = slices.Compact(slices.Sorted(slices.Values(append(back, c.Rec.Back[unit]...))))
}

// plainly lists names as their unit knows them.
func plainly(names []string) string {
	texts := make([]string, len(names))
	for i, name := range names {
		texts[i] = fmt.Sprintf("%q", entryname.PlainName(name))
	}
	return strings.Join(texts, ", ")
}

func (c *Coordinator) awaitedLocked(unit string) []string {
	var names []string
	if a := c.incoming[unit]; a != nil {
		for name := range a.names {
			names = append(names, name)
		}
	}
	return names
}

// fetchedLocked crosses names off, and finishes the unit's sessions after the last.
//
// Killed before the finish: the sessions are in the fd store and the unit is in
// the record as waiting; it fetches again. Killed after: the vault's bundles
// hold the files, and the next start finds the session closed and the files
// there.
func (c *Coordinator) fetchedLocked(unit string, names []string) {
	a := c.incoming[unit]
	if a == nil {
		return
	}
	for _, name := range names {
		delete(a.names, name)
	}
	if len(a.names) > 0 {
		return
	}
	c.finishLocked(unit, a)
	c.Rec.Fetched = append(c.Rec.Fetched, unit)
	for before, now := range c.Rec.Renamed {
		if now == unit {
			c.Rec.Fetched = append(c.Rec.Fetched, before)
		}
	}
	c.MarkLocked("fetched "+unit, c.Clock.Now())
	c.Log.Info("the unit has everything that came through the live update", "unit", unit)
	if c.allFetchedLocked() {
		c.arrivedLocked()
	}
}

func (c *Coordinator) finishLocked(unit string, a *arrival) {
	delete(c.incoming, unit)
	for name, s := range a.sessions {
		if err := s.Finish(); err != nil {
			c.Log.Warn("could not finish a session; closing it does the same", "session", name, "unit", unit, "error", err)
		}
		if err := c.Store.Remove(name); err != nil {
			c.Log.Warn("could not remove a finished session from the fd store", "session", name, "error", err)
		}
		s.Close()
	}
}

// arrivedLocked ends the update: nothing waits any more.
func (c *Coordinator) arrivedLocked() {
	c.dropManifestLocked()
	if c.Rec.Phase == phase.Restoring {
		c.MarkLocked("done", c.Clock.Now())
		_ = c.MoveLocked(phase.Complete)
		c.archiveLocked()
		c.Log.Info("the live update is complete", "generation", c.Rec.Generation, "lost", len(c.Rec.Lost), catalog.MessageID, catalog.Complete)
	}
}

func (c *Coordinator) dropManifestLocked() {
	if c.manifest != nil {
		if err := c.Store.Remove(c.manifestName()); err != nil {
			c.Log.Warn("could not remove the manifest's session from the fd store", "error", err)
		}
		c.manifest.Close()
		c.manifest = nil
	}
}

// Own lists what Retrieve gives the unit.
func (c *Coordinator) Own(ctx context.Context, unit string) ([]Held, error) {
	if err := c.claim(ctx, unit); err != nil {
		return nil, err
	}
	unlock, err := c.Lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := c.missingLocked(unit); err != nil {
		c.turnAwayLocked(unit)
		return nil, err
	}
	return slices.DeleteFunc(c.heldLocked(unit), func(h Held) bool { return entryname.OfNoUse(h.Name) }), nil
}

// List lists everything held.
func (c *Coordinator) List(ctx context.Context) ([]Held, error) {
	unlock, err := c.Lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	var all []Held
	for _, unit := range c.vault.Units() {
		all = append(all, c.heldLocked(unit)...)
	}
	for _, d := range c.Rec.Sessions {
		all = append(all, heldSession(d))
	}
	return all, nil
}

// heldLocked is a delegated session in a list.
func heldSession(d record.Delegated) Held {
	h := Held{Unit: d.Unit, Name: d.Name, State: "session"}
	if d.Incoming {
		h.State = "session-waiting"
	}
	return h
}

func (c *Coordinator) heldLocked(unit string) []Held {
	var list []Held
	for _, f := range c.vault.Files(unit) {
		h := Held{Unit: unit, Name: f.Name, State: "held"}
		if entryname.Recreated(f.Name) || entryname.Same(f.Name) {
			// What luod has is a description, whose size and seals are nobody's.
		} else if facts, err := vault.Look(f.F); err == nil {
			h.Size, h.Seals = uint64(facts.Size), uint32(facts.Seals)
		}
		if a := c.incoming[unit]; a != nil && a.names[f.Name] {
			h.State = "waiting"
		} else if slices.Contains(c.Rec.Fetched, unit) {
			h.State = "fetched"
		}
		list = append(list, h)
	}
	return list
}
