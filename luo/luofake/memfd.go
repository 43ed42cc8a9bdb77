package luofake

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// What the kernel does with a memfd: mm/memfd_luo.c, each step in its order.

// added are the seals that F_SEAL_EXEC brings along on what may be executed
// (mm/memfd.c: memfd_add_seals).
const added = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE | unix.F_SEAL_FUTURE_WRITE

// allSeals are those that mm/memfd_luo.c carries (MEMFD_LUO_ALL_SEALS).
const allSeals = unix.F_SEAL_SEAL | unix.F_SEAL_EXEC | added

// ample is what one file's holes may take, unless SetMemory says something else: a
// test that hands over a sparse file of a terabyte must not fill it in earnest.
const ample = 1 << 30

const pageSize = 4096

// SetMemory says how many bytes are left for the holes of each file.
func (k *Kernel) SetMemory(bytes int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.memory = bytes
}

// SetSeals says which seals the kernel knows; the real one of today knows all.
func (k *Kernel) SetSeals(known int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.seals = known
}

// Truncate borrows f and changes its size, as ftruncate(2) does: a preserved file's is
// fixed (mm/shmem.c: SHMEM_F_MAPPING_FROZEN). The fake can't keep others from calling
// ftruncate(2) itself; Kexec fails then.
func (k *Kernel) Truncate(f *os.File, size int64) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.settle()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return err
	}
	if size != st.Size && k.has(&st, false) {
		return unix.EPERM
	}
	return unix.Ftruncate(int(f.Fd()), size)
}

// has says whether an outgoing session has the file, whatever descriptor of it, or also
// an incoming one.
func (k *Kernel) has(st *unix.Stat_t, incoming bool) bool {
	for _, s := range k.sessions {
		if s.incoming && !incoming {
			continue
		}
		for _, f := range s.files {
			var held unix.Stat_t
			if f.f != nil && unix.Fstat(int(f.f.Fd()), &held) == nil && held.Ino == st.Ino && held.Dev == st.Dev {
				return true
			}
		}
	}
	return false
}

// take borrows a memfd that is to be preserved, and fills its holes.
func (k *Kernel) take(fd int, st *unix.Stat_t) syscall.Errno {
	seals, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	if err != nil || seals&^k.seals != 0 {
		return unix.EOPNOTSUPP
	}
	pages := (uint64(st.Size) + pageSize - 1) / pageSize
	switch {
	case pages > math.MaxUint32:
		return unix.EFBIG
	// The list of its pages has 8 bytes for each, and no list may be larger than 2 GiB
	// (mm/slub.c: kvmalloc).
	case pages*8 > math.MaxInt32:
		return unix.ENOMEM
	}
	holes := int64(pages)*pageSize - st.Blocks*512
	if holes <= 0 {
		return 0
	}
	if holes > k.memory {
		return unix.ENOMEM
	}
	if err := fillHoles(fd, st.Size); err != nil {
		return unix.ENOMEM
	}
	return 0
}

// fillHoles gives a file all its pages. Who may only read it maps it, which does so too.
func fillHoles(fd int, size int64) error {
	if w, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", fd), os.O_RDWR, 0); err == nil {
		defer w.Close()
		return unix.Fallocate(int(w.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, size)
	}
	data, err := unix.Mmap(fd, 0, int(size), unix.PROT_READ, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return err
	}
	return unix.Munmap(data)
}

// saved is what the kernel carries of a memfd.
type saved struct {
	data     []byte
	position int64
	seals    int
}

// save reads through a descriptor of its own, since the file may be open for writing
// only.
func (f *file) save() (*saved, error) {
	r, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", f.f.Fd()))
	if err != nil {
		return nil, err
	}
	defer r.Close()
	st, err := r.Stat()
	if err != nil {
		return nil, err
	}
	if st.Size() != f.size {
		return nil, fmt.Errorf("somebody made %d bytes of %d, which the kernel would not have let him", st.Size(), f.size)
	}
	s := &saved{data: make([]byte, st.Size())}
	if _, err := io.ReadFull(io.NewSectionReader(r, 0, st.Size()), s.data); err != nil {
		return nil, err
	}
	if s.position, err = f.f.Seek(0, io.SeekCurrent); err != nil {
		return nil, err
	}
	s.seals, err = unix.FcntlInt(f.f.Fd(), unix.F_GET_SEALS, 0)
	return s, err
}

// restore makes a new memfd of it, which is luod's whoever owned the other, always O_RDWR,
// and may be executed by all (mode 0777, mm/shmem.c: __shmem_file_setup).
func (s *saved) restore() (*os.File, error) {
	fd, err := unix.MemfdCreate("", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3 all may be executed
		fd, err = unix.MemfdCreate("", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "restored")
	if err := s.fill(f); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (s *saved) fill(f *os.File) error {
	if _, err := f.Write(s.data); err != nil {
		return err
	}
	if _, err := f.Seek(s.position, io.SeekStart); err != nil {
		return err
	}
	seals := s.seals
	if seals&unix.F_SEAL_EXEC != 0 {
		seals |= added
	}
	_, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals)
	return err
}
