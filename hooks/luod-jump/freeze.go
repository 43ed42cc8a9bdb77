package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// The numbers of linux/fs.h, which are the same on every architecture we know.
const (
	fiFreeze = 0xc0045877 // _IOWR('X', 119, int)
	fiThaw   = 0xc0045878 // _IOWR('X', 120, int)
)

// kernel is what freezing asks of the kernel.
type kernel interface {
	// Freeze writes a file system out and makes writers wait
	// (fs/super.c: freeze_super). EBUSY: it is frozen already. EOPNOTSUPP: its
	// type can't be.
	Freeze(path string) error
	Thaw(path string) error
	// Remount makes it read-only or writable again. EBUSY: files are open for writing.
	Remount(path string, readOnly bool) error
	// Flush is syncfs(2).
	Flush(path string) error
}

// frozen is what has to be undone.
type frozen struct {
	Frozen    []string `json:"frozen"`
	Remounted []string `json:"remounted"`
}

// freeze makes everything on disks whole. It writes what it is about to do to
// path first, so that another process can undo it.
//
// Killed anywhere: luod-jump --thaw, which the unit runs after this, finds the
// list and undoes what was done of it.
func freeze(k kernel, list []filesystem, path string) (frozen, error) {
	var plan, done frozen
	for _, f := range list {
		plan.Frozen = append(plan.Frozen, f.Path)
	}
	if err := plan.write(path); err != nil {
		return done, err
	}
	for _, f := range list {
		err := k.Freeze(f.Path)
		switch {
		case err == nil:
			done.Frozen = append(done.Frozen, f.Path)
			continue
		case errors.Is(err, unix.EBUSY):
			continue // somebody else has frozen it, and will thaw it
		case !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.ENOTTY) && !errors.Is(err, unix.EINVAL):
			return done, fmt.Errorf("freeze %s: %w", f.Path, err)
		}
		if f.Remount {
			plan.Remounted = append(plan.Remounted, f.Path)
			if err := plan.write(path); err != nil {
				return done, err
			}
			if k.Remount(f.Path, true) == nil {
				done.Remounted = append(done.Remounted, f.Path)
				continue
			}
		}
		if err := k.Flush(f.Path); err != nil {
			return done, fmt.Errorf("write %s out: %w", f.Path, err)
		}
	}
	return done, nil
}

// undo thaws in the opposite order. It goes on after an error.
func (f frozen) undo(k kernel, path string) error {
	var failed []error
	for _, p := range slices.Backward(f.Remounted) {
		if err := k.Remount(p, false); err != nil {
			failed = append(failed, fmt.Errorf("make %s writable again: %w", p, err))
		}
	}
	for _, p := range slices.Backward(f.Frozen) {
		// EINVAL: it is not frozen.
		if err := k.Thaw(p); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.ENOTTY) {
			failed = append(failed, fmt.Errorf("thaw %s: %w", p, err))
		}
	}
	if len(failed) == 0 {
		failed = append(failed, os.Remove(path))
	}
	return errors.Join(failed...)
}

func (f frozen) write(path string) error {
	data, err := json.Marshal(f)
	if err == nil {
		err = os.WriteFile(path, data, 0o600)
	}
	if err != nil {
		return fmt.Errorf("note what is to be frozen: %w", err)
	}
	return nil
}

// left reads what a process that was killed may have frozen; nothing is no error.
func left(path string) (frozen, bool, error) {
	var f frozen
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return f, false, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &f)
	}
	if err != nil {
		return f, false, fmt.Errorf("read what was frozen: %w", err)
	}
	return f, true, nil
}

// system is the running kernel.
type system struct{}

func at(path string, f func(fd int) error) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOTDIR) { // a file is mounted over
		fd, err = unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return f(fd)
}

func (system) Freeze(path string) error {
	return at(path, func(fd int) error { return unix.IoctlSetPointerInt(fd, fiFreeze, 0) })
}

func (system) Thaw(path string) error {
	return at(path, func(fd int) error { return unix.IoctlSetPointerInt(fd, fiThaw, 0) })
}

func (system) Flush(path string) error { return at(path, unix.Syncfs) }

// Remount keeps the mount's own flags (mount(2): MS_BIND would change only those,
// and without it those that are not given are lost).
func (system) Remount(path string, readOnly bool) error {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return err
	}
	flags := uintptr(unix.MS_REMOUNT)
	for of, flag := range map[int64]uintptr{
		unix.ST_NOSUID: unix.MS_NOSUID, unix.ST_NODEV: unix.MS_NODEV, unix.ST_NOEXEC: unix.MS_NOEXEC,
		unix.ST_NOATIME: unix.MS_NOATIME, unix.ST_NODIRATIME: unix.MS_NODIRATIME, unix.ST_RELATIME: unix.MS_RELATIME,
	} {
		if st.Flags&of != 0 {
			flags |= flag
		}
	}
	if readOnly {
		flags |= unix.MS_RDONLY
	}
	return unix.Mount("", path, "", flags, "")
}
