package bootentry

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// partition is a boot partition, or the directory that stands for one.
type partition struct {
	dir  string
	root *os.File
	// inside is dir's own path on its file system if that has more than the
	// boot partition's files, or "".
	inside string
	// addons are those of all unified kernel images on it.
	addons []addon
}

// bootDirs are where the ESP and the XBOOTLDR partition are mounted (bootctl(1)).
var bootDirs = []string{"efi", "boot", "boot/efi"}

// partitions opens those there are. One that is mounted in two places is one. The
// caller closes them. Only if none can be opened is that an error; else what
// can't is skipped.
func (s System) partitions() (list []partition, skipped []Skipped, err error) {
	var seen []os.FileInfo
	for _, name := range bootDirs {
		p, err := openPartition(s.path(name))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
			continue
		}
		var info os.FileInfo
		if err == nil {
			if info, err = p.root.Stat(); err != nil {
				p.root.Close()
			}
		}
		if err != nil {
			skipped = append(skipped, Skipped{s.path(name), fmt.Errorf("look for boot entries: %w", err)})
			continue
		}
		if slices.ContainsFunc(seen, func(o os.FileInfo) bool { return os.SameFile(o, info) }) {
			p.root.Close()
			continue
		}
		seen = append(seen, info)
		list = append(list, p)
	}
	if len(list) == 0 && len(skipped) > 0 {
		return nil, nil, skipped[0].Err
	}
	return list, skipped, nil
}

// openPartition opens for reading, since with O_PATH an automount would not
// happen (open(2)), and both partitions may be one (systemd-gpt-auto-generator(8)).
func openPartition(dir string) (partition, error) {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return partition{}, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	p := partition{dir: dir, root: os.NewFile(uintptr(fd), dir)}
	var own, parent unix.Statx_t
	const mask = unix.STATX_MNT_ID
	if unix.Statx(fd, "", unix.AT_EMPTY_PATH, mask, &own) == nil && unix.Statx(fd, "..", 0, mask, &parent) == nil &&
		own.Mask&parent.Mask&mask != 0 && own.Mnt_id == parent.Mnt_id {
		p.inside = path.Base(dir)
	}
	return p, nil
}

func (p partition) path(name string) string { return path.Join(p.dir, name) }

// clean makes of an entry's path one from the partition's root.
func clean(name string) (string, error) {
	switch {
	case name == "" || strings.HasSuffix(name, "/"):
		return "", fmt.Errorf("%q names no file", name)
	case strings.Contains(name, "\x00"):
		return "", fmt.Errorf("%q is no path", name)
	case slices.Contains(strings.Split(name, "/"), ".."):
		return "", fmt.Errorf("%s has a \"..\", which may lead out of the boot partition", name)
	}
	return strings.TrimPrefix(path.Clean("/"+name), "/"), nil
}

// attempts bounds how often a lookup is done again that a rename got in the way
// of (openat2(2), EAGAIN).
const attempts = 16

// beneath opens a path of the partition. Neither a symbolic link nor a mount
// leads out of it.
func (p partition) beneath(name string, flags uint64) (*os.File, error) {
	full := p.path(name)
	for try := 1; ; try++ {
		fd, err := unix.Openat2(int(p.root.Fd()), name, &unix.OpenHow{
			Flags:   flags | unix.O_CLOEXEC,
			Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV,
		})
		switch {
		case err == nil:
			return os.NewFile(uintptr(fd), full), nil
		case (err == unix.EAGAIN || err == unix.EINTR) && try < attempts:
			continue
		case err == unix.EXDEV:
			return nil, fmt.Errorf("%s leads out of the boot partition %s: %w", full, p.dir, err)
		}
		return nil, &os.PathError{Op: "open", Path: full, Err: err}
	}
}

// kinds are what is no regular file, for errors.
var kinds = []struct {
	mode fs.FileMode
	name string
}{
	{fs.ModeDir, "a directory"}, {fs.ModeNamedPipe, "a FIFO"}, {fs.ModeSocket, "a socket"},
	{fs.ModeCharDevice, "a character device"}, {fs.ModeDevice, "a block device"}, {fs.ModeSymlink, "a symbolic link"},
}

// find finds a regular, non-empty file of the partition without opening it: to
// open a device may do something, and a FIFO may hold up. The caller closes it.
func (p partition) find(name string) (*os.File, error) {
	name, err := clean(name)
	if err != nil {
		return nil, err
	}
	f, err := p.beneath(name, unix.O_PATH)
	if err != nil {
		return nil, err
	}
	if err := regular(f); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func regular(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	for _, k := range kinds {
		if info.Mode()&k.mode != 0 {
			return fmt.Errorf("%s is %s, not a file", f.Name(), k.name)
		}
	}
	if info.Size() == 0 {
		return fmt.Errorf("%s is empty", f.Name())
	}
	return nil
}

// check says why a file of the partition can't be used.
func (p partition) check(name string) error {
	f, err := p.find(name)
	if err != nil {
		return err
	}
	return f.Close()
}

// locate is check for a path that an entry names, and returns what it is from the
// partition's root. Where /boot is no file system of its own, GRUB's entries name
// paths of the one that it is on, and so with /boot before them.
func (p partition) locate(name string) (string, error) {
	err := p.check(name)
	if errors.Is(err, fs.ErrNotExist) && p.inside != "" {
		if rest, ok := strings.CutPrefix(path.Clean("/"+name), "/"+p.inside+"/"); ok {
			if e := p.check(rest); !errors.Is(e, fs.ErrNotExist) {
				name, err = rest, e
			}
		}
	}
	return name, err
}

// open opens what find finds, through its descriptor, so that it is the same.
func (p partition) open(name string) (*os.File, error) {
	found, err := p.find(name)
	if err != nil {
		return nil, err
	}
	defer found.Close()
	link := fmt.Sprintf("/proc/self/fd/%d", found.Fd())
	fd, err := unix.Open(link, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: found.Name(), Err: err}
	}
	return os.NewFile(uintptr(fd), found.Name()), nil
}

// read reads a file of at most limit bytes.
func (p partition) read(name string, limit int64) ([]byte, error) {
	f, err := p.open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAll(f, limit)
}

func readAll(f *os.File, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s has over %d bytes", f.Name(), limit)
	}
	return data, nil
}

// readFile reads a file that is no boot partition's, with the same care.
func readFile(name string, limit int64) ([]byte, error) {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	if err := regular(f); err != nil {
		return nil, err
	}
	return readAll(f, limit)
}

// A directory may have so many entries, and so many names.
const (
	maxEntries = 1024
	maxNames   = 1 << 16
)

// names lists what a directory of the partition has with a suffix, sorted. A
// directory that isn't there has nothing. One with too many has none, since the
// best may be among those not seen.
func (p partition) names(dir, suffix string) ([]string, error) {
	d, err := p.beneath(path.Clean("./"+dir), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list a directory: %w", err)
	}
	defer d.Close()
	var list []string
	for seen := 0; ; {
		some, err := d.Readdirnames(maxEntries)
		for _, name := range some {
			if !strings.HasPrefix(name, ".") && hasSuffixFold(name, suffix) {
				list = append(list, name)
			}
		}
		if seen += len(some); seen > maxNames || len(list) > maxEntries {
			return nil, fmt.Errorf("list %s: it has over %d entries or over %d names", d.Name(), maxEntries, maxNames)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", d.Name(), err)
		}
	}
	slices.Sort(list)
	return list, nil
}
