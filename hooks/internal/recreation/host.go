package recreation

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/hooks/internal/patience"
	"github.com/liveupdate/luod/internal/recipe"
)

// Host is where things are described and made.
type Host struct {
	// Init is PID 1's directory in /proc: what is made anew is found in its mount
	// namespace, and lives in its network namespace.
	Init string
	// Limit is how long a file system may take to answer; 0 is [patience.Limit].
	Limit time.Duration
}

// Describe borrows f and describes it; the error says why it can't be made anew. With
// [patience.ErrSilent] it has f for good: to close it would wait for the same answer.
func (h Host) Describe(f *os.File) (recipe.Recipe, error) {
	return patience.Within(cmp.Or(h.Limit, patience.Limit), func() (recipe.Recipe, error) { return h.describe(f) })
}

func (h Host) describe(f *os.File) (recipe.Recipe, error) {
	defer runtime.KeepAlive(f)
	d := recipe.Recipe{Version: recipe.Version}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return d, fmt.Errorf("look at it: %w", err)
	}
	var err error
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		d.File, err = h.describeFile(f, st)
	case unix.S_IFSOCK:
		d.Socket, err = h.describeSocket(f)
	default:
		err = errors.New("it is neither a regular file nor a socket")
	}
	if err == nil {
		err = d.Check()
	}
	return d, err
}

// Make makes anew what d describes. The caller owns the file.
func (h Host) Make(d recipe.Recipe) (f *os.File, err error) {
	switch {
	case d.File != nil:
		f, err = h.openFile(d.File)
	case d.Socket != nil:
		f, err = h.makeSocket(d.Socket)
	default:
		err = errors.New("it is described as neither a file nor a socket")
	}
	if err != nil {
		return nil, fmt.Errorf("make %s anew: %w", d, err)
	}
	return f, nil
}

// Reopen borrows memfd and opens it once more, as s says.
func Reopen(memfd *os.File, s *recipe.Same) (*os.File, error) {
	defer runtime.KeepAlive(memfd)
	f, err := openAgain(int(memfd.Fd()), s.Flags, s.Offset)
	if err != nil {
		return nil, fmt.Errorf("open %q once more: %w", s.Of, err)
	}
	return f, nil
}

// openAgain opens the file behind fd anew, with flags, at offset.
func openAgain(fd, flags int, offset int64) (*os.File, error) {
	// Not by package os, which would make a pipe or a socket non-blocking: PID 1
	// passes the flags on as they are.
	again, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), flags|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(again), "")
	if _, err := unix.Seek(again, offset, unix.SEEK_SET); err != nil {
		f.Close()
		return nil, fmt.Errorf("set its position: %w", err)
	}
	return f, nil
}
