package inhibitors

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Limits of a new Set. The first is about luod's descriptors, of which each lock
// takes one; logind has the same (InhibitorsMax= of logind.conf(5)).
const (
	DefaultMax         = 8192
	DefaultMaxPerOwner = 64
)

// Set is the locks there are. Its methods can be called concurrently.
type Set struct {
	// Max is how many locks there may be, and MaxPerOwner how many of one UID.
	// What an earlier process left is kept in any case. Set them before use.
	Max, MaxPerOwner int

	dir     string
	changed func()
	epoll   int
	// wake is an eventfd that gets the goroutine out of its wait.
	wake int
	// done is closed after the goroutine has ended, and err is why, if it
	// wasn't told to.
	done chan struct{}
	err  error

	mu     sync.Mutex
	held   map[uint64]*lock
	last   uint64
	closed bool
}

// lock is an Inhibitor with the reading end of its FIFO, which the Set owns.
type lock struct {
	Inhibitor
	fd int
}

// Open keeps locks in dir, which it makes if it is missing, and adopts those that
// an earlier process left there and whose owners are alive; all others are removed.
// changed, which may be nil, is called after a lock came or went, by the Set's own
// goroutine and once for several changes at a time; it must not call Close.
func Open(dir string, changed func()) (*Set, error) {
	s := &Set{
		Max: DefaultMax, MaxPerOwner: DefaultMaxPerOwner,
		dir: dir, changed: changed, epoll: -1, wake: -1, done: make(chan struct{}), held: map[uint64]*lock{},
	}
	if err := s.open(); err != nil {
		s.closeAll()
		return nil, fmt.Errorf("open the inhibitors in %s: %w", dir, err)
	}
	go s.watch()
	return s, nil
}

func (s *Set) open() (err error) {
	if err := os.Mkdir(s.dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if s.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return fmt.Errorf("make an epoll: %w", err)
	}
	if s.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return fmt.Errorf("make an eventfd: %w", err)
	}
	if err := s.await(s.wake, 0); err != nil {
		return err
	}
	return s.adopt()
}

// adopt takes over what an earlier process left. Killed within Add, that may be a
// FIFO alone, a FIFO with a temporary file, or both files with no writer; killed
// within the removal, a FIFO alone. None of them is anybody's lock.
func (s *Set) adopt() error {
	files, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	there := map[string]bool{}
	ids := map[uint64]bool{}
	for _, f := range files {
		there[f.Name()] = true
		if id, ok := idOf(f.Name()); ok {
			ids[id] = true
		} else if strings.HasPrefix(f.Name(), tempPrefix) {
			os.Remove(s.dir + "/" + f.Name())
		}
	}
	buffer := make([]byte, drops)
	for id := range ids {
		s.last = max(s.last, id)
		if err := s.adoptOne(id, buffer); err != nil {
			return err
		}
	}
	return nil
}

func (s *Set) adoptOne(id uint64, buffer []byte) error {
	if _, err := os.Lstat(s.record(id)); errors.Is(err, fs.ErrNotExist) {
		s.forget(id)
		return nil
	}
	fd, err := openReader(s.fifo(id))
	if errors.Is(err, fs.ErrNotExist) {
		s.forget(id)
		return nil
	}
	if err != nil {
		return err
	}
	alive, err := written(fd, buffer)
	if err != nil || !alive {
		unix.Close(fd)
		s.forget(id)
		return nil
	}
	s.held[id] = &lock{Inhibitor: s.read(id), fd: fd}
	return s.await(fd, id)
}

// Add takes a lock for i, whose ID and Since it sets, and returns the end that
// keeps it: the caller owns it, and gives it to the lock's owner. The lock holds
// before Add returns, until every copy of that end is closed. The error is a
// *Refusal where the request is at fault.
func (s *Set) Add(i Inhibitor) (*os.File, error) {
	if err := i.check(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, fmt.Errorf("take an inhibitor: %w", os.ErrClosed)
	}
	if len(s.held) >= s.Max {
		return nil, refuse(TooManyInhibitors, "there are %d inhibitors, and no more are allowed: 'luoctl list-inhibitors' shows whose they are", len(s.held))
	}
	own := 0
	for _, l := range s.held {
		if l.UID == i.UID {
			own++
		}
	}
	if own >= s.MaxPerOwner {
		return nil, refuse(TooManyInhibitors, "user %d has %d inhibitors, and no more are allowed: close one first", i.UID, own)
	}
	s.last++
	i.ID, i.Since = s.last, time.Now().Round(0)
	w, err := s.take(i)
	if err != nil {
		return nil, fmt.Errorf("take an inhibitor: %w", err)
	}
	s.ring()
	return w, nil
}

// take makes the files of a lock. Killed anywhere in it, the writing end is gone
// and with it the lock, which nobody was promised; see adopt.
func (s *Set) take(i Inhibitor) (w *os.File, err error) {
	if err := unix.Mkfifo(s.fifo(i.ID), 0o600); err != nil {
		return nil, &fs.PathError{Op: "make the FIFO", Path: s.fifo(i.ID), Err: err}
	}
	fd := -1
	defer func() {
		if err == nil {
			return
		}
		s.forget(i.ID)
		if fd >= 0 {
			unix.Close(fd)
		}
		if w != nil {
			w.Close()
			w = nil
		}
	}()
	if fd, err = openReader(s.fifo(i.ID)); err != nil {
		return nil, err
	}
	if w, err = openWriter(s.fifo(i.ID)); err != nil {
		return nil, err
	}
	if err = s.write(i); err != nil {
		return w, err
	}
	if err = s.await(fd, i.ID); err != nil {
		return w, err
	}
	s.held[i.ID] = &lock{Inhibitor: i, fd: fd}
	return w, nil
}

// List returns all locks in the order in which they were taken.
func (s *Set) List() []Inhibitor { return s.list("") }

// Blocking returns the locks that forbid a live update.
func (s *Set) Blocking() []Inhibitor { return s.list(Block) }

// Delaying returns the locks whose owners want to be told before a live update.
func (s *Set) Delaying() []Inhibitor { return s.list(Delay) }

func (s *Set) list(mode Mode) []Inhibitor {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Inhibitor
	for l := range maps.Values(s.held) {
		if mode == "" || l.Mode == mode {
			list = append(list, l.Inhibitor)
		}
	}
	slices.SortFunc(list, func(a, b Inhibitor) int { return cmp.Compare(a.ID, b.ID) })
	return list
}

// Close ends the goroutine and closes this process's ends. The locks stay for the
// next process; after it this Set has none. It can be called twice.
func (s *Set) Close() error {
	s.mu.Lock()
	first := !s.closed
	s.closed = true
	if first {
		s.ring()
	}
	s.mu.Unlock()
	<-s.done
	if first {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.closeAll()
	}
	return s.err
}

func (s *Set) closeAll() {
	for _, l := range s.held {
		unix.Close(l.fd)
	}
	clear(s.held)
	for _, fd := range []int{s.epoll, s.wake} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}
