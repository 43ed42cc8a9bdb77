package vault

import (
	"context"
	"os"
)

// Add takes files over for unit under names, all or none: on success the vault
// owns them and they are safe in the fd store; on an error the caller still
// owns every one and nothing changed. A *Refusal says what was wrong with the
// request.
//
// Killed before the items are in a bundle that PID 1 has: nothing was promised and
// nothing is kept, however many messages they take. Killed after: the next start
// finds all of them, and the caller, who got no answer, is told NameInUse if it
// tries again.
func (v *Vault) Add(ctx context.Context, unit string, names []string, files []*os.File) error {
	if len(names) > MaxPerCall {
		return refuse(TooMany, "%d file descriptors in one call are too many: at most %d are taken", len(names), MaxPerCall)
	}
	return v.AddAll(ctx, []Batch{{unit, names, files}})[0]
}

// Batch is what is added for one unit at a time.
type Batch struct {
	Unit  string
	Names []string
	Files []*os.File
}

// AddAll does what Add does with each batch, of any size and each of another unit,
// and waits for PID 1 only once. It returns what became of each, in their order;
// one that is refused doesn't touch the others.
//
// Killed meanwhile: the next start finds the batches that PID 1 had taken, each of
// them whole, and of the others nothing.
func (v *Vault) AddAll(ctx context.Context, batches []Batch) []error {
	return v.addAll(ctx, batches, v.limits)
}

// Restore is AddAll for what came through an update, where no limit counts: it was
// within the limits when it was handed over, and what it grew by since or what an
// admin changed since must not cost the unit its memory. Over tells of it before the
// next update.
func (v *Vault) Restore(ctx context.Context, batches []Batch) []error {
	return v.addAll(ctx, batches, noLimits)
}

func (v *Vault) addAll(ctx context.Context, batches []Batch, limits Limits) []error {
	_ = v.sweep()
	failed := make([]error, len(batches))
	added := make([][]*File, len(batches))
	stages := make([]staged, len(batches))
	wait := false
	serial := v.serial
	for i, b := range batches {
		facts, err := v.check(b.Unit, b.Names, b.Files, limits)
		if err != nil {
			failed[i] = err
			continue
		}
		added[i] = make([]*File, len(b.Files))
		for j, f := range b.Files {
			serial++
			added[i][j] = &File{Unit: b.Unit, Name: b.Names[j], Serial: serial, F: f, inode: facts[j].inode, size: facts[j].Size}
		}
		stages[i], failed[i] = v.stage(b.Unit, added[i], v.units[b.Unit].writer)
		wait = wait || stages[i].entry != nil
	}
	var late error
	if wait {
		late = v.store.Barrier(ctx)
	}
	for i, s := range stages {
		switch {
		case failed[i] != nil:
			continue
		case s.entry != nil:
			if failed[i] = v.taken(s, late); failed[i] != nil {
				continue
			}
			v.settle(s)
		}
		for _, f := range added[i] {
			v.put(f)
		}
	}
	return failed
}
