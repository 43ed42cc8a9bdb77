package inhibitors

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// await has the epoll tell about fd under id; 0 is the eventfd. The ID and not the
// descriptor names it, since a descriptor's number is soon somebody else's.
func (s *Set) await(fd int, id uint64) error {
	event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(uint32(id)), Pad: int32(uint32(id >> 32))}
	if err := unix.EpollCtl(s.epoll, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
		return fmt.Errorf("watch an inhibitor's FIFO: %w", err)
	}
	return nil
}

// ring gets the goroutine out of its wait. The eventfd can't be full before 2⁶⁴
// calls that nobody answered (eventfd(2)).
func (s *Set) ring() {
	_, _ = unix.Write(s.wake, binary.NativeEndian.AppendUint64(nil, 1))
}

// watch is the Set's goroutine.
func (s *Set) watch() {
	defer close(s.done)
	events := make([]unix.EpollEvent, 64)
	buffer := make([]byte, drops)
	for {
		n, err := unix.EpollWait(s.epoll, events, -1)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			s.err = fmt.Errorf("wait for the owners of inhibitors: %w", err)
			return
		}
		changed, closed := s.handle(events[:n], buffer)
		if closed {
			return
		}
		if changed && s.changed != nil {
			s.changed()
		}
	}
}

// handle removes the locks whose owners are gone and drops what others have written.
func (s *Set) handle(events []unix.EpollEvent, buffer []byte) (changed, closed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false, true
	}
	for _, event := range events {
		id := uint64(uint32(event.Fd)) | uint64(uint32(event.Pad))<<32
		if id == 0 {
			_, _ = unix.Read(s.wake, buffer[:8])
			changed = true
			continue
		}
		l := s.held[id]
		if l == nil {
			continue
		}
		if alive, err := written(l.fd, buffer); err == nil && alive {
			continue
		}
		s.forget(id)
		// Closing it takes it out of the epoll too: there is no other copy.
		unix.Close(l.fd)
		delete(s.held, id)
		changed = true
	}
	return changed, false
}
