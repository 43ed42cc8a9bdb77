package fakepid1

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/descriptor"
	"github.com/liveupdate/luod/internal/sdnotify"
	"github.com/liveupdate/luod/internal/sdnotify/fakestore"
	"github.com/liveupdate/luod/internal/storeview"
)

// entry is one of a store; the store owns f.
type entry struct {
	name string
	f    *os.File
	poll bool
}

// Push stores duplicates of the borrowed files as luod and its programs do (FDPOLL=0). What exceeds FileDescriptorStoreMax= is
// dropped, and nobody is told. PID 1 takes several of one message in an order that nobody knows.
func (p *Process) Push(name string, files ...*os.File) error { return p.push(name, false, files) }

// PushPolled is Push without FDPOLL=0: an entry goes when its other end hangs up.
func (p *Process) PushPolled(name string, files ...*os.File) error { return p.push(name, true, files) }

func (p *Process) push(name string, poll bool, files []*os.File) error {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	if p.ended {
		return nil
	}
	if sdnotify.CheckName(name) != nil {
		name = "stored"
	}
	p.m.settle(p.u)
	for _, i := range rand.Perm(len(files)) { // a message's descriptors go through a hash table
		if err := p.u.add(name, poll, files[i]); err != nil {
			return err
		}
	}
	return nil
}

// add puts the newest first.
func (u *unit) add(name string, poll bool, f *os.File) error {
	if len(u.store) >= u.set.StoreMax {
		return nil
	}
	for _, e := range u.store {
		if same, err := fakestore.Same(e.f, f); err != nil || same {
			return err // the first name stays
		}
	}
	d, err := descriptor.Dup(f, f.Name())
	if err != nil {
		return fmt.Errorf("store %q of %s: %w", name, u.file.Name, err)
	}
	u.store = slices.Insert(u.store, 0, &entry{name, d, poll})
	return nil
}

// Remove drops every entry of that name.
func (p *Process) Remove(name string) error {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	if !p.ended {
		p.u.drop(func(e *entry) bool { return e.name == name })
	}
	return nil
}

// Barrier succeeds, whatever became of what was pushed.
func (p *Process) Barrier(context.Context) error { return nil }

func (u *unit) drop(which func(*entry) bool) {
	u.store = slices.DeleteFunc(u.store, func(e *entry) bool {
		if which(e) {
			e.f.Close()
			return true
		}
		return false
	})
}

func (u *unit) empty() { u.drop(func(*entry) bool { return true }) }

// settle drops what has hung up.
func (m *Manager) settle(u *unit) {
	u.drop(func(e *entry) bool { return e.poll && hungUp(e.f) })
	m.unpin(u)
}

func hungUp(f *os.File) bool {
	fds := []unix.PollFd{{Fd: int32(f.Fd())}}
	for {
		_, err := unix.Poll(fds, 0)
		if err != unix.EINTR {
			return err == nil && fds[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0
		}
	}
}

// Descriptors returns duplicates of what is in unit's store, as luod-adopt copies it, in the order in which PID 1 tells of it; the
// caller owns them.
func (m *Manager) Descriptors(unit string) []sdnotify.Entry {
	if u := m.find(unit); u != nil {
		return m.copies(u)
	}
	return nil
}

func (m *Manager) copies(u *unit) []sdnotify.Entry {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.settle(u)
	entries := make([]sdnotify.Entry, 0, len(u.store))
	for _, e := range u.store {
		d, err := descriptor.Dup(e.f, e.f.Name())
		if err != nil {
			panic(fmt.Sprintf("copy %q out of the store of %s: %v", e.name, u.file.Name, err))
		}
		entries = append(entries, sdnotify.Entry{Name: e.name, File: d})
	}
	return entries
}

// Store tells of what is in unit's store as DumpUnitFileDescriptorStore does.
func (m *Manager) Store(unit string) []storeview.Stored {
	u := m.find(unit)
	if u == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.dump(u)
}

func (m *Manager) dump(u *unit) []storeview.Stored {
	m.settle(u)
	var list []storeview.Stored
	for _, e := range u.store {
		s, err := m.stored(e)
		if err != nil {
			panic(fmt.Sprintf("tell of %q in the store of %s: %v", e.name, u.file.Name, err))
		}
		list = append(list, s)
	}
	return list
}

func (m *Manager) stored(e *entry) (storeview.Stored, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(e.f.Fd()), &st); err != nil {
		return storeview.Stored{}, err
	}
	flags, err := unix.FcntlInt(e.f.Fd(), unix.F_GETFL, 0)
	if err != nil {
		return storeview.Stored{}, err
	}
	path, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", e.f.Fd()))
	return storeview.Stored{
		Name: e.name, Device: st.Dev, Inode: st.Ino, Path: path,
		Memfd: st.Dev == m.ofMemfds && st.Mode&unix.S_IFMT == unix.S_IFREG,
		Type:  st.Mode & unix.S_IFMT, Mode: st.Mode, Flags: uint32(flags),
	}, err
}
