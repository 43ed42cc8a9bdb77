package beneath

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrLink says that a symbolic link is on the way that others than root may have put
// there.
var ErrLink = errors.New("a symbolic link that others than root can make leads elsewhere")

// maxLinks is how many links are followed, as many as the kernel does
// (path_resolution(7)).
const maxLinks = 40

// Place is a directory that was reached. Whoever has one closes it.
type Place struct {
	// Dir is open with O_PATH.
	Dir *os.File
	// Path is how it was asked for.
	Path string
	// Fixed says that only root can have another directory found there: each name on
	// the way is in a directory in which only root can rename it.
	Fixed bool
}

// Close closes the directory.
func (p *Place) Close() error { return p.Dir.Close() }

// Open returns the directory at the absolute path below the directory root, such as
// "/" or "/proc/1/root". A symbolic link is followed where only root can have made it,
// as systemd's /run/foo to /run/private/foo, and else it is an error that wraps
// [ErrLink].
func Open(root, path string) (*Place, error) { return walk(root, path, false) }

// Make is [Open], and makes the directories that are missing, with mode 0755.
func Make(root, path string) (*Place, error) { return walk(root, path, true) }

// OpenParent returns the directory that the file at path is in, and its name there.
func OpenParent(root, path string) (*Place, string, error) {
	name := filepath.Base(path)
	if name == "." || name == ".." || name == "/" {
		return nil, "", fmt.Errorf("open the directory of %s: it names no file in one", path)
	}
	p, err := walk(root, filepath.Dir(path), false)
	return p, name, err
}

// walker is on the way through directories, which it owns.
type walker struct {
	// reached are the directories from the first on, since one may lead back ("..").
	reached []step
	links   int
	missing bool
}

type step struct {
	fd    int
	st    unix.Stat_t
	fixed bool
}

func walk(root, path string, missing bool) (*Place, error) {
	if !filepath.IsAbs(path) {
		return nil, fmt.Errorf("open the directory %s: it is no absolute path", path)
	}
	fd, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open the root directory %s: %w", root, err)
	}
	w := &walker{missing: missing}
	defer w.close()
	if err := w.reach(fd, true); err != nil {
		return nil, fmt.Errorf("open the root directory %s: %w", root, err)
	}
	if err := w.follow(path); err != nil {
		return nil, fmt.Errorf("open the directory %s: %w", path, err)
	}
	last := w.reached[len(w.reached)-1]
	w.reached = w.reached[:len(w.reached)-1]
	return &Place{Dir: os.NewFile(uintptr(last.fd), path), Path: path, Fixed: last.fixed}, nil
}

// reach takes fd over.
func (w *walker) reach(fd int, fixed bool) error {
	s := step{fd: fd, fixed: fixed}
	if err := unix.Fstat(fd, &s.st); err != nil {
		unix.Close(fd)
		return err
	}
	w.reached = append(w.reached, s)
	return nil
}

func (w *walker) close() {
	for _, s := range w.reached {
		unix.Close(s.fd)
	}
}

func (w *walker) follow(path string) error {
	if strings.HasPrefix(path, "/") {
		for _, s := range w.reached[1:] {
			unix.Close(s.fd)
		}
		w.reached = w.reached[:1]
	}
	for name := range strings.SplitSeq(path, "/") {
		switch name {
		case "", ".":
		case "..":
			if last := len(w.reached) - 1; last > 0 {
				unix.Close(w.reached[last].fd)
				w.reached = w.reached[:last]
			}
		default:
			if err := w.enter(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// enter goes on to name, in the directory that was reached last.
func (w *walker) enter(name string) error {
	here := w.reached[len(w.reached)-1]
	fd, err := openIn(here.fd, name, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if errors.Is(err, unix.ENOENT) && w.missing {
		if err := unix.Mkdirat(here.fd, name, 0o755); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("make the directory %s: %w", name, err)
		}
		fd, err = openIn(here.fd, name, unix.O_PATH|unix.O_NOFOLLOW, 0)
	}
	if err != nil {
		return &os.PathError{Op: "open", Path: name, Err: err}
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return fmt.Errorf("look at %s: %w", name, err)
	}
	fixed := stays(here.st, st)
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return w.reach(fd, here.fixed && fixed)
	case unix.S_IFLNK:
		defer unix.Close(fd)
		if !here.fixed || !fixed {
			return fmt.Errorf("%s: %w", name, ErrLink)
		}
		if w.links++; w.links > maxLinks {
			return &os.PathError{Op: "open", Path: name, Err: unix.ELOOP}
		}
		target, err := readLink(fd)
		if err != nil {
			return fmt.Errorf("read the link %s: %w", name, err)
		}
		return w.follow(target)
	}
	unix.Close(fd)
	return &os.PathError{Op: "open", Path: name, Err: unix.ENOTDIR}
}

// stays says whether only root, or this process's user, can put another file in the
// place of the one that is st and in the directory dir: nobody else can write there, or
// the directory is sticky (inode(7)) and the file root's. The group's bits are those of
// everybody whom an access control list names (acl(5)).
func stays(dir, st unix.Stat_t) bool {
	if !trusted(dir.Uid) {
		return false
	}
	return dir.Mode&0o022 == 0 || dir.Mode&unix.S_ISVTX != 0 && trusted(st.Uid)
}

func trusted(uid uint32) bool { return uid == 0 || int(uid) == os.Geteuid() }

// readLink reads the symbolic link that is open with O_PATH.
func readLink(fd int) (string, error) {
	target := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, "", target)
	return string(target[:max(n, 0)]), err
}

// openIn opens name in dir; the caller closes what it returns. It is one name, on
// whatever file system is mounted there.
func openIn(dir int, name string, flags int, mode uint64) (int, error) {
	for {
		fd, err := unix.Openat2(dir, name, &unix.OpenHow{
			Flags: uint64(flags) | unix.O_CLOEXEC, Mode: mode,
			Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS,
		})
		if err != unix.EAGAIN && err != unix.EINTR { // EAGAIN: a rename elsewhere (openat2(2))
			return fd, err
		}
	}
}

// OpenIn opens the file at name, which may have several parts, in the directory dir
// and on the same mount, with flags of open(2). No link is on the way; name itself may
// be one if flags have O_NOFOLLOW and O_PATH. The caller closes the file. Errors are
// errnos: ELOOP for a link, EXDEV for a mount point or a way out (openat2(2)).
func OpenIn(dir *os.File, name string, flags int, mode fs.FileMode) (*os.File, error) {
	for {
		fd, err := unix.Openat2(int(dir.Fd()), name, &unix.OpenHow{
			Flags: uint64(flags) | unix.O_CLOEXEC, Mode: uint64(mode.Perm()),
			Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_XDEV,
		})
		switch err {
		case nil:
			return os.NewFile(uintptr(fd), filepath.Join(dir.Name(), name)), nil
		case unix.EAGAIN, unix.EINTR:
		default:
			return nil, &os.PathError{Op: "open", Path: filepath.Join(dir.Name(), name), Err: err}
		}
	}
}

// Again is a path that leads to the very file that f is open on, for system calls that
// take no descriptor, or none with O_PATH (proc_pid_fd(5)). It follows nothing that
// somebody else can change.
func Again(f *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", f.Fd()) }

// ReadLink reads the symbolic link that is open with O_PATH and O_NOFOLLOW.
func ReadLink(f *os.File) (string, error) {
	target, err := readLink(int(f.Fd()))
	if err != nil {
		return "", &os.PathError{Op: "readlink", Path: f.Name(), Err: err}
	}
	return target, nil
}
