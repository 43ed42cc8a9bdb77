package luofake

import (
	"os"
	"slices"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/luo/internal/uapi"
)

// sizes are of the structures.
var sizes = map[uint]uint32{
	uapi.ReqPreserveFD: uint32(unsafe.Sizeof(uapi.FDArg{})),
	uapi.ReqRetrieveFD: uint32(unsafe.Sizeof(uapi.FDArg{})),
	uapi.ReqFinish:     uint32(unsafe.Sizeof(uapi.FinishArg{})),
	uapi.ReqGetName:    uint32(unsafe.Sizeof(uapi.NameArg{})),
}

func (s *session) ioctl(k *Kernel, request uint, arg unsafe.Pointer) syscall.Errno {
	size, known := sizes[request]
	if !known {
		return unix.EINVAL
	}
	if (request == uapi.ReqRetrieveFD || request == uapi.ReqFinish) != s.incoming && request != uapi.ReqGetName {
		return unix.EINVAL
	}
	if errno := checkSize(arg, size); errno != 0 {
		return errno
	}
	switch request {
	case uapi.ReqPreserveFD:
		return s.preserve(k, (*uapi.FDArg)(arg))
	case uapi.ReqRetrieveFD:
		return s.retrieve((*uapi.FDArg)(arg))
	case uapi.ReqFinish:
		if (*uapi.FinishArg)(arg).Reserved != 0 {
			return unix.EINVAL
		}
		s.release()
		return 0
	case uapi.ReqGetName:
		a := (*uapi.NameArg)(arg)
		if a.Reserved != 0 {
			return unix.EINVAL
		}
		a.Name = [uapi.NameLength]byte{}
		copy(a.Name[:], s.name)
		return 0
	}
	return unix.EINVAL
}

func (s *session) preserve(k *Kernel, a *uapi.FDArg) syscall.Errno {
	if slices.ContainsFunc(s.files, func(f *file) bool { return f.token == a.Token }) {
		return unix.EEXIST
	}
	var st unix.Stat_t
	var fs unix.Statfs_t
	flags, err := unix.FcntlInt(uintptr(a.FD), unix.F_GETFL, 0)
	if err != nil || flags&unix.O_PATH != 0 {
		return unix.EBADF
	}
	if unix.Fstat(int(a.FD), &st) != nil || unix.Fstatfs(int(a.FD), &fs) != nil {
		return unix.EBADF
	}
	if fs.Type != unix.TMPFS_MAGIC || st.Nlink != 0 {
		return unix.ENOENT
	}
	if k.has(&st, true) {
		return unix.EBUSY
	}
	if errno := k.take(int(a.FD), &st); errno != 0 {
		return errno
	}
	f, errno := duplicate(int(a.FD))
	if errno != 0 {
		return errno
	}
	s.files = append(s.files, &file{token: a.Token, f: f, size: st.Size})
	return 0
}

func (s *session) retrieve(a *uapi.FDArg) syscall.Errno {
	i := slices.IndexFunc(s.files, func(f *file) bool { return f.token == a.Token })
	if i < 0 {
		return unix.ENOENT
	}
	kept := s.files[i]
	if kept.failed != 0 {
		return kept.failed
	}
	if kept.f == nil {
		f, err := kept.saved.restore()
		if err != nil {
			kept.failed = unix.EIO
			return kept.failed
		}
		kept.f, kept.saved = f, nil
	}
	fd, err := unix.FcntlInt(kept.f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return unix.EMFILE
	}
	a.FD = int32(fd)
	return 0
}

// checkSize is copy_struct_from_user of include/linux/uaccess.h: a structure of a newer
// version is taken if what is new in it is zero.
func checkSize(arg unsafe.Pointer, size uint32) syscall.Errno {
	given := *(*uint32)(arg)
	if given < size {
		return unix.EINVAL
	}
	for _, b := range unsafe.Slice((*byte)(arg), given)[size:] {
		if b != 0 {
			return unix.E2BIG
		}
	}
	return 0
}

func duplicate(fd int) (*os.File, syscall.Errno) {
	d, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, unix.EBADF
	}
	return os.NewFile(uintptr(d), "preserved"), 0
}
