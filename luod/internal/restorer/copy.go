package restorer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/luod/internal/manifest"
)

// copier copies files one after the other: what is free for one is looked at before
// it, and two at a time would both take it.
type copier struct {
	// room says why there is no memory for so many bytes more; nil means that there is.
	room func(bytes int64) error
	mu   sync.Mutex
}

// chunk is how much is copied at a time, a multiple of page: the size of the pages
// that the kernel may leave out, or of several of them.
const (
	chunk = 256 << 10
	page  = 4096
)

// errNoMemory says that a copy failed only because there is no memory for it.
var errNoMemory = errors.New("there is no memory for it")

// copy borrows f and makes a new memfd with its contents and position, and with the
// mode, the owner and exactly the seals that want says. Pages of zeros are holes in
// it. An error wraps errNoMemory if that is all that is wrong.
//
// Killed in here: the copy is gone, and the next start makes another.
func (c *copier) copy(f *os.File, want manifest.File) (_ *os.File, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.fits(f, want.Size); err != nil {
		return nil, fmt.Errorf("copy it: %w", err)
	}
	fresh, err := fresh(want)
	if err != nil {
		return nil, fmt.Errorf("copy it: %w", err)
	}
	if err := fill(fresh, f, want); err != nil {
		fresh.Close()
		if errors.Is(err, unix.ENOMEM) || errors.Is(err, unix.ENOSPC) {
			err = fmt.Errorf("%w: %w", errNoMemory, err)
		}
		return nil, fmt.Errorf("copy it: %w", err)
	}
	return fresh, nil
}

// fits says why there is no memory for a copy of f. The kernel has filled its holes, for
// which a copy takes none and for which none was counted before the update; they are
// looked for only where it matters.
func (c *copier) fits(f *os.File, size int64) error {
	if c.room == nil || c.room(size) == nil {
		return nil
	}
	needed := int64(0)
	buffer := make([]byte, min(chunk, size))
	for at := int64(0); at < size; at += int64(len(buffer)) {
		buffer = buffer[:min(int64(len(buffer)), size-at)]
		if n, err := f.ReadAt(buffer, at); n < len(buffer) {
			return fmt.Errorf("read %d of %d bytes at %d: %w", n, len(buffer), at, err)
		}
		for begin := 0; begin < len(buffer); begin += page {
			if !zero(buffer[begin:min(begin+page, len(buffer))]) {
				needed += page
			}
		}
	}
	if err := c.room(needed); err != nil {
		return fmt.Errorf("%w: %w", errNoMemory, err)
	}
	return nil
}

// fresh makes a memfd that may get want's mode and no seal but want's. It names one of
// the two flags in any case, so that vm.memfd_noexec=1 doesn't choose; 2 refuses one
// that may be executed.
func fresh(want manifest.File) (*os.File, error) {
	flags := unix.MFD_CLOEXEC | unix.MFD_NOEXEC_SEAL // which sets F_SEAL_EXEC and allows more
	if want.Mode&0o111 != 0 {
		flags = unix.MFD_CLOEXEC | unix.MFD_EXEC | unix.MFD_ALLOW_SEALING
	}
	fd, err := unix.MemfdCreate("", flags)
	if err != nil {
		return nil, fmt.Errorf("make a memfd: %w", err)
	}
	return os.NewFile(uintptr(fd), "copy"), nil
}

func fill(fresh, f *os.File, want manifest.File) error {
	if err := fresh.Truncate(want.Size); err != nil {
		return err
	}
	buffer := make([]byte, min(chunk, want.Size))
	for at := int64(0); at < want.Size; at += int64(len(buffer)) {
		buffer = buffer[:min(int64(len(buffer)), want.Size-at)]
		if n, err := f.ReadAt(buffer, at); n < len(buffer) {
			return fmt.Errorf("read %d of %d bytes at %d: %w", n, len(buffer), at, err)
		}
		if err := writeData(fresh, buffer, at); err != nil {
			return err
		}
	}
	position, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return fmt.Errorf("read its position: %w", err)
	}
	if _, err := fresh.Seek(position, io.SeekStart); err != nil {
		return fmt.Errorf("set its position: %w", err)
	}
	if err := own(fresh, want.Mode, want); err != nil {
		return err
	}
	// The last step: they forbid some of the others.
	if _, err := unix.FcntlInt(fresh.Fd(), unix.F_ADD_SEALS, want.Seals); err != nil {
		return fmt.Errorf("seal it: %w", err)
	}
	if seals, err := unix.FcntlInt(fresh.Fd(), unix.F_GET_SEALS, 0); err != nil || seals != want.Seals {
		return fmt.Errorf("seal it: it got the seals %#x instead of %#x (%v)", seals, want.Seals, err)
	}
	return nil
}

// writeData writes buffer without its pages of zeros, which are there already.
func writeData(fresh *os.File, buffer []byte, at int64) error {
	for begin := 0; begin < len(buffer); {
		if zero(buffer[begin:min(begin+page, len(buffer))]) {
			begin += page
			continue
		}
		end := begin
		for end < len(buffer) && !zero(buffer[end:min(end+page, len(buffer))]) {
			end += page
		}
		end = min(end, len(buffer))
		if _, err := fresh.WriteAt(buffer[begin:end], at+int64(begin)); err != nil {
			return err
		}
		begin = end
	}
	return nil
}

var zeros [page]byte

func zero(b []byte) bool { return bytes.Equal(b, zeros[:len(b)]) }
