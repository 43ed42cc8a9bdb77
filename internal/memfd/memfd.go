// Package memfd makes memfds and seals them. A sealed one can be handed to anybody: what was
// looked at in it stays what it is.
package memfd

import (
	"fmt"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Sealed are the seals of what nobody can change any more (F_SEAL_* of fcntl(2)).
const Sealed = unix.F_SEAL_WRITE | unix.F_SEAL_GROW | unix.F_SEAL_SHRINK | unix.F_SEAL_SEAL

// New makes an empty memfd that can be sealed, which the caller owns.
func New(name string) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("make a memfd: %w", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// Seal borrows f, and nobody can change it from then on.
func Seal(f *os.File) error {
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, Sealed); err != nil {
		return fmt.Errorf("seal a memfd: %w", err)
	}
	return nil
}

// Of makes a sealed memfd with data, which the caller owns.
func Of(name string, data []byte) (*os.File, error) {
	f, err := New(name)
	if err != nil {
		return nil, err
	}
	if _, err = f.Write(data); err == nil {
		err = Seal(f)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("fill a memfd: %w", err)
	}
	return f, nil
}

// device is what Device has found; never an error, which may be over the next time.
var device atomic.Pointer[uint64]

// Device is st_dev of every memfd without MFD_HUGETLB: they are files of one tmpfs that is
// mounted nowhere (mm/shmem.c: shm_mnt).
func Device() (uint64, error) {
	if known := device.Load(); known != nil {
		return *known, nil
	}
	f, err := New("compare")
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return 0, fmt.Errorf("look at a memfd to compare with: %w", err)
	}
	device.Store(&st.Dev)
	return st.Dev, nil
}
