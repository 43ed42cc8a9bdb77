package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/sdnotify"
	"github.com/liveupdate/luod/vmtest/systemdtest/rules"
)

// service is the program in its unit.
type service struct {
	store  *sdnotify.Manager
	passed []rules.Entry
	files  map[string]*os.File
	others map[string]*os.File // the other ends of pairs
	last   *rules.Order        // what is done at the stop
}

func serve(unit string) error {
	s := &service{files: map[string]*os.File{}, others: map[string]*os.File{}}
	passed, err := sdnotify.Listen()
	if err != nil {
		return err
	}
	for _, e := range passed {
		entry, err := describe(e.Name, e.File)
		if err != nil {
			return err
		}
		s.passed = append(s.passed, entry)
		e.File.Close()
	}
	if s.store, err = sdnotify.New(); err != nil {
		return err
	}
	path := "/run/storer/" + unit
	if err := os.MkdirAll("/run/storer", 0o755); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	term := make(chan os.Signal, 1)
	signal.Notify(term, unix.SIGTERM)
	if err := s.store.Notify("READY=1"); err != nil {
		return err
	}
	orders := make(chan net.Conn)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			orders <- c
		}
	}()
	for {
		select {
		case c := <-orders:
			s.answer(c)
		case <-term:
			if s.last != nil {
				if err := s.do(*s.last); err != nil {
					return err
				}
				os.Exit(s.last.Code)
			}
			os.Exit(0)
		}
	}
}

func describe(name string, f *os.File) (rules.Entry, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return rules.Entry{}, err
	}
	flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
	return rules.Entry{Name: name, Inode: st.Ino, ReadOnly: flags&unix.O_ACCMODE == unix.O_RDONLY}, err
}

// answer takes one order.
func (s *service) answer(c net.Conn) {
	defer c.Close()
	var o rules.Order
	a := rules.Answer{Inodes: map[string]uint64{}, Passed: s.passed}
	err := json.NewDecoder(c).Decode(&o)
	if err == nil && o.AtStop {
		err = s.make(o.Files)
		s.last = &o
	} else if err == nil {
		err = s.do(o)
	}
	if err != nil {
		a.Error = err.Error()
	}
	for label, f := range s.files {
		if e, err := describe(label, f); err == nil {
			a.Inodes[label] = e.Inode
		}
	}
	if err := json.NewEncoder(c).Encode(a); err != nil {
		fmt.Fprintln(os.Stderr, "storer:", err)
	}
	if o.Exit && !o.AtStop {
		c.Close()
		os.Exit(o.Code)
	}
}

func (s *service) do(o rules.Order) error {
	if o.HangUp != "" {
		return s.others[o.HangUp].Close()
	}
	if o.Remove != "" {
		if err := s.store.Remove(o.Remove); err != nil {
			return err
		}
	}
	if len(o.Files) > 0 {
		if err := s.push(o); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return s.store.Barrier(ctx)
}

// make makes the files that aren't there yet.
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

// push sends a message of its own making, since luod's own programs always say FDPOLL=0 and a name.
func (s *service) push(o rules.Order) error {
	if err := s.make(o.Files); err != nil {
		return err
	}
	state := "FDSTORE=1\n"
	if !o.Poll {
		state += "FDPOLL=0\n"
	}
	if !o.Unnamed {
		state += "FDNAME=" + o.Push + "\n"
	}
	var fds []int
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
		fds = append(fds, int(file.Fd()))
	}
	socket, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(socket)
	return unix.Sendmsg(socket, []byte(state), unix.UnixRights(fds...), &unix.SockaddrUnix{Name: os.Getenv("NOTIFY_SOCKET")}, unix.MSG_NOSIGNAL)
}
