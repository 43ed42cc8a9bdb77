package inhibitors

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// openReader opens the end that tells by EOF when all writers are gone. The
// caller owns the descriptor; fs.ErrNotExist says that there is no FIFO at path.
// It is a bare descriptor, because thousands of them wait in one epoll.
func openReader(path string) (int, error) {
	fd, err := open(path, unix.O_RDONLY)
	if err != nil {
		return -1, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFIFO {
		unix.Close(fd)
		return -1, errors.Join(&fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}, err)
	}
	return fd, nil
}

// openWriter opens the end that a lock's owner holds; a reading end must be open.
func openWriter(path string) (*os.File, error) {
	fd, err := open(path, unix.O_WRONLY)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

func open(path string, mode int) (int, error) {
	for {
		fd, err := unix.Open(path, mode|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
		if err == nil {
			return fd, nil
		}
		if err != unix.EINTR {
			return -1, &fs.PathError{Op: "open", Path: path, Err: err}
		}
	}
}

// drops bounds what one look at a FIFO reads: more than a pipe holds by default
// (pipe(7)), and no more than that of an owner who never stops writing.
const drops = 64 << 10

// written reads what is there, up to len(buffer), and drops it; open is false once
// every writer is gone and nothing is left to read.
func written(fd int, buffer []byte) (open bool, err error) {
	for {
		n, err := unix.Read(fd, buffer)
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			return true, nil
		case err != nil:
			return false, fmt.Errorf("read an inhibitor's FIFO: %w", err)
		default:
			return n > 0, nil
		}
	}
}
