package holdings

import (
	"context"
	"fmt"
	"os"
	"slices"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/internal/descriptor"
	"github.com/liveupdate/luod/internal/entryname"
	"github.com/liveupdate/luod/internal/phase"
	"github.com/liveupdate/luod/internal/sdnotify"
	"github.com/liveupdate/luod/luod/internal/catalog"
	"github.com/liveupdate/luod/luod/internal/fault"
	"github.com/liveupdate/luod/luod/internal/manifest"
	"github.com/liveupdate/luod/luod/internal/record"
	"github.com/liveupdate/luod/luod/internal/vault"
)

// Preserve takes files over for unit under names, all or none. On success the
// coordinator owns the files; on an error the caller does. The error is Retrieve's as
// long as nobody knows whether the unit has something under these names.
func (h *Holdings) Preserve(ctx context.Context, unit string, names []string, files []*os.File) error {
	unlock, err := h.LockHoldings(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := h.kernel.Probe(); err != nil {
		return fault.New(errorname.NotSupported, "%s can't have anything preserved: %w", unit, err)
	}
	if err := h.missingLocked(unit); err != nil {
		return err
	}
	if err := h.SteadyLocked("take file descriptors over"); err != nil {
		return err
	}
	for _, name := range names {
		if err := sdnotify.CheckName(name); err != nil {
			return &vault.Refusal{Reason: vault.InvalidName, Text: err.Error()}
		}
	}
	if err := h.Vault.Add(context.WithoutCancel(ctx), unit, names, files); err != nil {
		return err
	}
	h.Bursts.TookLocked(unit, len(files))
	h.Changed() // the vault keeps them, and the record has nothing of it
	return nil
}

// Release gives up the unit's files of these names, or all if there are none.
//
// Killed before the record says so: one that lies in an incoming session is back
// after the next start, and the unit, which got no answer, releases it again.
func (h *Holdings) Release(ctx context.Context, unit string, names []string) error {
	unlock, err := h.LockHoldings(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := h.SteadyLocked("give file descriptors up"); err != nil {
		return err
	}
	if err := h.copiedLocked(unit, "give file descriptors up"); err != nil {
		return err
	}
	if err := h.Vault.Remove(context.WithoutCancel(ctx), unit, names); err != nil {
		return err
	}
	h.Log.Info("gave file descriptors up", "unit", unit, "count", len(names))
	if len(names) == 0 {
		names = h.awaitedLocked(unit)
	}
	h.releaseLocked(unit, names)
	return h.SaveLocked()
}

// SteadyLocked refuses what would change the cargo while it is packed or on its way.
func (h *Holdings) SteadyLocked(what string) error {
	if h.Rec.Phase.Frozen() {
		return fault.New(errorname.Busy, "%s: a live update is under way (%s); try again when it is over", what, h.Rec.Phase)
	}
	return nil
}

// copiedLocked refuses to give up what a unit has here once its fd store was copied for the
// update under way: what luod had already was not taken once more.
func (h *Holdings) copiedLocked(unit, what string) error {
	if h.Copying[unit] {
		return fault.New(errorname.Busy, "%s: the fd store of %s was copied for a live update that is under way, and may need it; try again when it is over", what, unit)
	}
	return nil
}

// Held is one descriptor as an admin sees it.
type Held struct {
	Unit  string `json:"unit"`
	Name  string `json:"name"`
	Size  uint64 `json:"size"`
	Seals uint32 `json:"seals"`
	// State is "held", "waiting" (came through an update, not fetched yet) or
	// "fetched" (came through an update and was fetched); "session" is a whole
	// session of the unit's, and "session-waiting" one that it has not released.
	State string `json:"state"`
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
func (h *Holdings) Retrieve(ctx context.Context, unit string, names []string) (Fetch, error) {
	for _, name := range names {
		if entryname.OfNoUse(name) {
			return Fetch{}, &vault.Refusal{Reason: vault.NoSuchName, Text: fmt.Sprintf("%q is put back by luod-reissue, and given to nobody else", name)}
		}
	}
	return h.retrieve(ctx, unit, names, func(name string) bool { return !entryname.OfNoUse(name) })
}

// retrieve is Retrieve of the files whose names are given.
func (h *Holdings) retrieve(ctx context.Context, unit string, names []string, given func(name string) bool) (Fetch, error) {
	if err := h.claim(ctx, unit); err != nil {
		return Fetch{}, err
	}
	unlock, err := h.Lock(ctx)
	if err != nil {
		return Fetch{}, err
	}
	defer unlock()
	if err := h.missingLocked(unit); err != nil {
		h.turned.NoteLocked(unit)
		return Fetch{}, err
	}
	files, err := h.Vault.Select(unit, names)
	if err != nil {
		return Fetch{}, err
	}
	var fetch Fetch
	for _, f := range files {
		if !given(f.Name) {
			continue
		}
		file, err := descriptor.Dup(f.F, f.Name)
		if err != nil {
			fetch.Close()
			return Fetch{}, fmt.Errorf("give %q of %s out: %w", f.Name, unit, err)
		}
		fetch.Names = append(fetch.Names, f.Name)
		fetch.Files = append(fetch.Files, file)
	}
	return fetch, nil
}

// Reissue is Retrieve of everything for luod-reissue, with which a start of the unit
// begins.
func (h *Holdings) Reissue(ctx context.Context, unit string) (Fetch, error) {
	if err := h.Stores.Starting(ctx, unit); err != nil {
		return Fetch{}, err
	}
	return h.retrieve(ctx, unit, nil, func(string) bool { return true })
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
func (h *Holdings) Fetched(ctx context.Context, unit string, names []string) error {
	stores, err := h.Stores.StoreFor(ctx, unit, names)
	if err != nil {
		return err
	}
	unlock, err := h.LockHoldings(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	there, missing := h.Stores.ThereLocked(unit, names, stores)
	if err := h.missingLocked(unit); err != nil {
		return err // or it would wait for the unit for ever
	}
	// What a service asks for itself over D-Bus says nothing of its store.
	if slices.ContainsFunc(names, entryname.Adopted) {
		h.Stores.NoteLocked(unit, there)
		h.Stores.WatchLocked(unit)
	}
	h.fetchedLocked(unit, there)
	if err := h.SaveLocked(); err != nil {
		return err
	}
	if len(missing) > 0 {
		return fault.New(errorname.NotInStore, "%s has not got %s into its fd store: PID 1 closes what exceeds FileDescriptorStoreMax= of the unit without a word; luod keeps everything, raise it and start the unit again", unit, entryname.Plainly(missing))
	}
	return nil
}

func (h *Holdings) awaitedLocked(unit string) []string {
	var names []string
	if a := h.incoming[unit]; a != nil {
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
func (h *Holdings) fetchedLocked(unit string, names []string) {
	a := h.incoming[unit]
	if a == nil {
		return
	}
	for _, name := range names {
		delete(a.names, name)
	}
	if len(a.names) > 0 {
		return
	}
	h.FinishLocked(unit, a)
	h.Rec.Fetched = append(h.Rec.Fetched, unit)
	for before, now := range h.Rec.Renamed {
		if now == unit {
			h.Rec.Fetched = append(h.Rec.Fetched, before)
		}
	}
	h.MarkLocked("fetched "+unit, h.Clock.Now())
	h.Log.Info("the unit has everything that came through the live update", "unit", unit)
	if h.AllFetchedLocked() {
		h.arrivedLocked()
	}
}

func (h *Holdings) FinishLocked(unit string, a *arrival) {
	delete(h.incoming, unit)
	for name, s := range a.sessions {
		if err := s.Finish(); err != nil {
			h.Log.Warn("could not finish a session; closing it does the same", "session", name, "unit", unit, "error", err)
		}
		if err := h.store.Remove(name); err != nil {
			h.Log.Warn("could not remove a finished session from the fd store", "session", name, "error", err)
		}
		s.Close()
	}
}

// arrivedLocked ends the update: nothing waits any more.
func (h *Holdings) arrivedLocked() {
	h.DropManifestLocked()
	if h.Rec.Phase == phase.Restoring {
		h.MarkLocked("done", h.Clock.Now())
		_ = h.MoveLocked(phase.Complete)
		h.ArchiveLocked()
		h.Log.Info("the live update is complete", "generation", h.Rec.Generation, "lost", len(h.Rec.Lost), catalog.MessageID, catalog.Complete)
	}
}

func (h *Holdings) DropManifestLocked() {
	if h.manifest != nil {
		if err := h.store.Remove(manifest.SessionName); err != nil {
			h.Log.Warn("could not remove the manifest's session from the fd store", "error", err)
		}
		h.manifest.Close()
		h.manifest = nil
	}
}

// Own lists what Retrieve gives the unit.
func (h *Holdings) Own(ctx context.Context, unit string) ([]Held, error) {
	if err := h.claim(ctx, unit); err != nil {
		return nil, err
	}
	unlock, err := h.Lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := h.missingLocked(unit); err != nil {
		h.turned.NoteLocked(unit)
		return nil, err
	}
	return slices.DeleteFunc(h.heldLocked(unit), func(h Held) bool { return entryname.OfNoUse(h.Name) }), nil
}

// List lists everything held.
func (h *Holdings) List(ctx context.Context) ([]Held, error) {
	unlock, err := h.Lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	var all []Held
	for _, unit := range h.Vault.Units() {
		all = append(all, h.heldLocked(unit)...)
	}
	for _, d := range h.Rec.Sessions {
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

func (h *Holdings) heldLocked(unit string) []Held {
	var list []Held
	for _, f := range h.Vault.Files(unit) {
		is := Held{Unit: unit, Name: f.Name, State: "held"}
		if entryname.Recreated(f.Name) || entryname.Same(f.Name) {
			// What luod has is a description, whose size and seals are nobody's.
		} else if facts, err := vault.Look(f.F); err == nil {
			is.Size, is.Seals = uint64(facts.Size), uint32(facts.Seals)
		}
		if a := h.incoming[unit]; a != nil && a.names[f.Name] {
			is.State = "waiting"
		} else if slices.Contains(h.Rec.Fetched, unit) {
			is.State = "fetched"
		}
		list = append(list, is)
	}
	return list
}
