package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/luod/fdstore"
)

// file is what tells one file from another.
type file struct{ device, inode uint64 }

// errMoved says that a store changed while it was copied.
var errMoved = errors.New("the fd store changed meanwhile")

// descriptors maps the files that a process has open to one descriptor of each.
// What it closes meanwhile is left out.
func descriptors(pid int) (map[file]int, error) {
	dir := filepath.Join("/proc", strconv.Itoa(pid), "fd")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list the file descriptors of process %d: %w", pid, err)
	}
	open := map[file]int{}
	for _, e := range entries {
		var st unix.Stat_t
		n, err := strconv.Atoi(e.Name())
		if err != nil || unix.Stat(filepath.Join(dir, e.Name()), &st) != nil {
			continue
		}
		open[file{st.Dev, st.Ino}] = n
	}
	return open, nil
}

// copyStore copies the memfds among entries from the process behind pidfd; the
// caller owns the files. The error wraps errMoved if an entry is no longer there.
func copyStore(pidfd int, open map[file]int, entries []fdstore.Stored) (names []string, files []*os.File, err error) {
	defer func() {
		if err != nil {
			for _, f := range files {
				f.Close()
			}
		}
	}()
	// Each push of the same puts it in front, so the last is pushed first.
	for _, e := range slices.Backward(entries) {
		if !e.Memfd {
			continue
		}
		want := file{e.Device, e.Inode}
		n, is := open[want]
		if !is {
			return nil, files, fmt.Errorf("find %q: %w", e.Name, errMoved)
		}
		fd, err := unix.PidfdGetfd(pidfd, n, 0)
		if errors.Is(err, unix.EBADF) {
			return nil, files, fmt.Errorf("copy %q: %w", e.Name, errMoved)
		}
		if err != nil {
			return nil, files, fmt.Errorf("copy %q from PID 1: %w (a security module or kernel.yama.ptrace_scope=3 may forbid it)", e.Name, err)
		}
		f := os.NewFile(uintptr(fd), e.Name)
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil || (file{st.Dev, st.Ino}) != want {
			f.Close()
			return nil, files, fmt.Errorf("copy %q: %w", e.Name, errMoved)
		}
		names, files = append(names, e.Name), append(files, f)
	}
	return names, files, nil
}
