// Package fakestore stands in for PID 1's fd store in unit tests. It keeps real
// duplicates, so that sessions and bundles live exactly as long as they would,
// and hands them out as a restarted service would get them: the newest first. What
// exceeds FileDescriptorStoreMax= is dropped and nobody is told, and what it has already
// it doesn't take again.
package fakestore

import (
	"context"
	"math/rand/v2"
	"os"
	"slices"
	"sync"

	"github.com/liveupdate/luod/internal/descriptor"
	"github.com/liveupdate/luod/internal/sdnotify"
)

// Store is safe for concurrent use.
type Store struct {
	// deaf is locked while PID 1 reads nothing.
	deaf    sync.Mutex
	mu      sync.Mutex
	entries []sdnotify.Entry
	fail    error
	max     int
	// mute is closed when BARRIER=1 is answered again, and nil as long as it is.
	mute chan struct{}
}

// defaultMax is FileDescriptorStoreMax= of luod.service.
const defaultMax = 100000

// New makes an empty store with room for as many entries as luod.service's has.
func New() *Store { return &Store{max: defaultMax} }

// SetMax is FileDescriptorStoreMax=. What exceeds a lower one stays, until PID 1 reads its store again.
func (s *Store) SetMax(max int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.max = max
}

// FailNext makes the next Push, Remove or Barrier return err.
func (s *Store) FailNext(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = err
}

func (s *Store) take() error {
	err := s.fail
	s.fail = nil
	return err
}

// Push stores duplicates of the borrowed files, as far as there is room and it has them not yet. PID 1 takes several of
// one message in an order that nobody knows.
func (s *Store) Push(name string, files ...*os.File) error {
	s.heard()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.take(); err != nil {
		return err
	}
	for _, i := range rand.Perm(len(files)) { // a message's descriptors go through a hash table
		if err := s.add(name, files[i]); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) add(name string, f *os.File) error {
	if len(s.entries) >= s.max {
		return nil
	}
	for _, e := range s.entries {
		if same, err := Same(e.File, f); err != nil || same {
			return err
		}
	}
	d, err := descriptor.Dup(f, f.Name())
	if err != nil {
		return err
	}
	s.entries = slices.Insert(s.entries, 0, sdnotify.Entry{Name: name, File: d})
	return nil
}

// Remove closes and forgets every entry of the name.
func (s *Store) Remove(name string) error {
	s.heard()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.take(); err != nil {
		return err
	}
	s.entries = slices.DeleteFunc(s.entries, func(e sdnotify.Entry) bool {
		if e.Name == name {
			e.File.Close()
		}
		return e.Name == name
	})
	return nil
}

// Mute has every Barrier wait until the store is no longer mute, or for its context, as
// with a PID 1 that hangs.
func (s *Store) Mute(mute bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mute != nil {
		close(s.mute)
		s.mute = nil
	}
	if mute {
		s.mute = make(chan struct{})
	}
}

// heard waits until PID 1 reads messages.
func (s *Store) heard() {
	s.deaf.Lock()
	defer s.deaf.Unlock()
}

// Deafen has everything wait until PID 1 reads its messages again.
func (s *Store) Deafen(deaf bool) {
	if deaf {
		s.deaf.Lock()
	} else {
		s.deaf.Unlock()
	}
}

// Barrier has nothing to wait for, unless the store is mute.
func (s *Store) Barrier(ctx context.Context) error {
	s.heard()
	s.mu.Lock()
	err, mute := s.take(), s.mute
	s.mu.Unlock()
	if mute == nil {
		return err
	}
	select {
	case <-mute:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Listen returns duplicates of everything stored, as a restarted service gets
// them; the caller owns them.
func (s *Store) Listen() []sdnotify.Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	var entries []sdnotify.Entry
	for _, e := range s.entries {
		d, err := descriptor.Dup(e.File, e.File.Name())
		if err != nil {
			panic(err)
		}
		entries = append(entries, sdnotify.Entry{Name: e.Name, File: d})
	}
	return entries
}

// Names lists the entries' names in order.
func (s *Store) Names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for _, e := range s.entries {
		names = append(names, e.Name)
	}
	return names
}

// Close drops everything, as a reboot does.
func (s *Store) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.entries {
		e.File.Close()
	}
	s.entries = nil
}
