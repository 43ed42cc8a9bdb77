package storecopy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/hooks/internal/patience"
	"github.com/liveupdate/luod/internal/fileid"
	"github.com/liveupdate/luod/internal/storeview"
)

// errMoved says that a store changed while it was copied.
var errMoved = errors.New("the fd store changed meanwhile")

// descriptor is one of a process, with its O_* flags of fcntl(2).
type descriptor struct {
	number int
	flags  uint32
}

// opened are the files that a process has open.
type opened struct {
	// by has the descriptors of each, by their numbers.
	by map[fileid.ID][]descriptor
	// silent are the inodes of those whose file systems don't answer.
	silent map[uint64]bool
}

// descriptors looks at the files that a process has open of the inodes that are wanted;
// what it closes meanwhile is left out. Others may be on a file system that doesn't answer,
// and are nobody's business; each of these may take no longer than limit.
func descriptors(pid int, wanted map[uint64]bool, limit time.Duration) (opened, error) {
	dir := filepath.Join("/proc", strconv.Itoa(pid), "fd")
	open := opened{map[fileid.ID][]descriptor{}, map[uint64]bool{}}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return open, fmt.Errorf("list the file descriptors of process %d: %w", pid, err)
	}
	for _, e := range entries {
		n, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		flags, inode, told := infoOf(pid, n)
		if told && !wanted[inode] {
			continue
		}
		st, err := patience.Within(limit, func() (st unix.Stat_t, err error) {
			err = unix.Stat(filepath.Join(dir, e.Name()), &st)
			return st, err
		})
		if errors.Is(err, patience.ErrSilent) {
			open.silent[inode] = true
		}
		if err != nil {
			continue
		}
		f := fileid.From(&st)
		open.by[f] = append(open.by[f], descriptor{n, flags})
	}
	for _, list := range open.by {
		slices.SortFunc(list, func(a, b descriptor) int { return a.number - b.number })
	}
	return open, nil
}

// infoOf reads the flags of a process's descriptor, and its inode, for which no file system
// is asked (proc_pid_fdinfo(5)). The flags are 0 where they can't be had, and then no worse
// a guess than any. Before Linux 5.14 no inode is told.
func infoOf(pid, fd int) (flags uint32, inode uint64, told bool) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/fdinfo/%d", pid, fd))
	if err != nil {
		return 0, 0, false
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan() && !told; {
		if n, _ := fmt.Sscanf(lines.Text(), "flags: %o", &flags); n == 1 {
			flags &^= unix.O_CLOEXEC // it is of the descriptor, and no flag of F_GETFL
		}
		n, _ := fmt.Sscanf(lines.Text(), "ino: %d", &inode)
		told = n == 1
	}
	return flags, inode, told
}

// claim takes the descriptor out of those of a file that an entry is most likely of:
// the first with the entry's flags, or else the first.
func claim(list []descriptor, flags uint32) (descriptor, []descriptor) {
	at := max(0, slices.IndexFunc(list, func(d descriptor) bool { return d.flags == flags }))
	return list[at], slices.Delete(slices.Clone(list), at, at+1)
}

// Copy is a copy of an entry's descriptor; whoever has it owns F.
type Copy struct {
	storeview.Stored
	// F is nil where the entry's file system does not answer.
	F *os.File
	// Others counts further descriptors that PID 1 has of the file.
	Others int
}

// Close closes the copies.
func Close(list []Copy) {
	for _, c := range list {
		if c.F != nil {
			c.F.Close()
		}
	}
}

// attempts is how often a store that changes is copied anew.
const attempts = 5

// Of copies those entries of a unit's store that are wanted, as it is at one moment,
// in the order in which they were pushed. The caller owns the copies.
func Of(ctx context.Context, unit string, wanted func(storeview.Stored) bool) ([]Copy, error) {
	pidfd, err := unix.PidfdOpen(1, 0)
	if err != nil {
		return nil, fmt.Errorf("open PID 1: %w", err)
	}
	defer unix.Close(pidfd)
	view, err := storeview.View(ctx)
	if err != nil {
		return nil, err
	}
	defer view.Close()
	for range attempts {
		before, err := view.Dump(ctx, unit)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(before[unit], wanted) {
			return nil, nil
		}
		inodes := map[uint64]bool{}
		for _, e := range before[unit] {
			inodes[e.Inode] = inodes[e.Inode] || wanted(e)
		}
		open, err := descriptors(1, inodes, patience.Limit)
		if err != nil {
			return nil, err
		}
		list, err := copyStore(pidfd, open, before[unit], wanted, patience.Limit)
		if err != nil && !errors.Is(err, errMoved) {
			return nil, err
		}
		if err == nil {
			after, err := view.Dump(ctx, unit)
			if err == nil && reflect.DeepEqual(before, after) {
				return list, nil
			}
			Close(list)
			if err != nil {
				return nil, err
			}
		}
	}
	return nil, fmt.Errorf("%w, %d times in a row", errMoved, attempts)
}

// copyStore copies those of entries that are wanted from the process behind pidfd,
// in the order in which they were pushed; the caller owns the files. The error wraps
// errMoved if an entry is no longer there. One file may be in a store several times,
// each time through an open file description of its own.
func copyStore(pidfd int, open opened, entries []storeview.Stored, wanted func(storeview.Stored) bool, limit time.Duration) (list []Copy, err error) {
	defer func() {
		if err != nil {
			Close(list)
			list = nil
		}
	}()
	left := map[fileid.ID][]descriptor{}
	// Each push of the same puts it in front, so the last is pushed first.
	for _, e := range slices.Backward(entries) {
		if !wanted(e) {
			continue
		}
		want := fileid.ID{Device: e.Device, Inode: e.Inode}
		if _, seen := left[want]; !seen {
			left[want] = open.by[want]
		}
		if len(left[want]) == 0 && open.silent[e.Inode] && !e.Memfd {
			list = append(list, Copy{Stored: e})
			continue
		}
		if len(left[want]) == 0 {
			return list, fmt.Errorf("find %q: %w", e.Name, errMoved)
		}
		var d descriptor
		d, left[want] = claim(left[want], e.Flags)
		fd, err := unix.PidfdGetfd(pidfd, d.number, 0)
		if errors.Is(err, unix.EBADF) {
			return list, fmt.Errorf("copy %q: %w", e.Name, errMoved)
		}
		if err != nil {
			return list, fmt.Errorf("copy %q from PID 1: %w (a security module or kernel.yama.ptrace_scope=3 may forbid it)", e.Name, err)
		}
		f, err := patience.Within(limit, func() (*os.File, error) { return fileOf(fd, e.Name, want) })
		if errors.Is(err, patience.ErrSilent) {
			list = append(list, Copy{Stored: e})
			continue
		}
		if err != nil {
			return list, err
		}
		list = append(list, Copy{Stored: e, F: f, Others: len(open.by[want]) - 1})
	}
	return list, nil
}

// fileOf makes a file of fd if it is the one that is wanted, and closes it if not.
func fileOf(fd int, name string, want fileid.ID) (*os.File, error) {
	f := os.NewFile(uintptr(fd), name)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || fileid.From(&st) != want {
		f.Close()
		return nil, fmt.Errorf("copy %q: %w", name, errMoved)
	}
	return f, nil
}
