package vault

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/liveupdate/luod/luod/internal/bundle"
)

// staged are new bundles that PID 1 was sent and may not have taken yet. There is no
// entry if a bundle that the unit had before took all.
type staged struct {
	unit    string
	entry   *entry
	bundles []ends
}

// ends are those of one bundle.
type ends struct {
	w *bundle.Bundle
	r *os.File
}

// save stages files and returns when PID 1 has taken them, for the caller to settle:
// a message that PID 1 reads after its sender died is dropped, since it can't tell
// whose it was.
func (v *Vault) save(ctx context.Context, unit string, files []*File, writer *bundle.Bundle) (staged, error) {
	s, err := v.stage(unit, files, writer)
	if err != nil || s.entry == nil {
		return s, err
	}
	return s, v.taken(s, v.store.Barrier(ctx))
}

// stage writes files to the bundle that writer is of, if there is one and one message
// to it takes them all, and else to new ones, which the caller unstages or settles.
//
// It is all or nothing, also for a kill at any time: a message is indivisible, and of
// new bundles PID 1 gets none before all are filled, and then all in one message
// under one name. (Only what takes more than 253 bundles, some 100,000 files, goes to
// PID 1 in several messages. A kill between those leaves the first of them, in which
// the next start finds files that nobody was told of: more than there should be.)
func (v *Vault) stage(unit string, files []*File, writer *bundle.Bundle) (staged, error) {
	items := make([]bundle.Item, len(files))
	for i, f := range files {
		items[i] = bundle.Item{Owner: unit, Name: f.Name, Serial: f.Serial, File: f.F}
	}
	if writer != nil {
		err := writer.AddWhole(items)
		if !errors.Is(err, bundle.ErrFull) && !errors.Is(err, bundle.ErrManyMessages) {
			return staged{unit: unit}, err
		}
	}
	bundles, err := fill(items)
	s := staged{unit: unit, bundles: bundles, entry: &entry{name: bundlePrefix + strconv.FormatUint(v.bundle, 10), users: 1}}
	v.bundle++
	if err == nil {
		readers := make([]*os.File, len(bundles))
		for i, b := range bundles {
			readers[i] = b.r
		}
		err = v.store.Push(s.entry.name, readers...)
	}
	if err != nil {
		v.unstage(s)
		return staged{}, err
	}
	return s, nil
}

// fill makes bundles of items. The caller owns them, even with an error.
func fill(items []bundle.Item) (bundles []ends, err error) {
	var now *bundle.Bundle
	empty := false
	for len(items) > 0 {
		if now == nil {
			w, r, err := bundle.New()
			if err != nil {
				return bundles, err
			}
			now, empty, bundles = w, true, append(bundles, ends{w, r})
		}
		n, err := now.Add(items)
		if errors.Is(err, bundle.ErrFull) && !empty {
			now = nil
			continue
		}
		if err != nil {
			return bundles, err
		}
		items, empty = items[n:], false
	}
	return bundles, nil
}

// taken says whether PID 1 has what was staged, late being what came of waiting for
// it. PID 1 tells nobody that it has closed what exceeds FileDescriptorStoreMax=, but
// who has closed our own reading ends knows whether there are others. What was staged
// is unstaged if not.
func (v *Vault) taken(s staged, late error) error {
	if late != nil {
		v.unstage(s)
		return late
	}
	for _, b := range s.bundles {
		b.r.Close()
	}
	for _, b := range s.bundles {
		if !b.w.Kept() {
			v.unstage(s)
			return fmt.Errorf("keep %s in the fd store: PID 1 did not take it: has luod.service too low a FileDescriptorStoreMax=?", s.entry.name)
		}
	}
	return nil
}

// unstage drops what was staged. The bundles are emptied first, so that nothing of it
// is there any more in whatever state PID 1 is.
func (v *Vault) unstage(s staged) {
	for _, b := range s.bundles {
		_ = bundle.Drain(b.r) // it fails where taken has closed it
		b.r.Close()
		b.w.Close()
	}
	_ = v.drop(s.entry)
}

// settle makes what PID 1 has taken the unit's.
func (v *Vault) settle(s staged) {
	if s.entry == nil {
		return
	}
	h := v.units[s.unit]
	if h.writer != nil {
		h.writer.Close()
	}
	for i, b := range s.bundles {
		if i < len(s.bundles)-1 {
			b.w.Close()
		}
		h.writer = b.w
	}
	h.entries = append(h.entries, s.entry)
	v.units[s.unit] = h
}
