package luofake

import (
	"os"
	"slices"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/luo"
)

// sizes are of the structures; the fake knows no other versions of them.
var sizes = map[uint]uint32{
	luo.ReqPreserveFD: uint32(unsafe.Sizeof(luo.FDArg{})),
	luo.ReqRetrieveFD: uint32(unsafe.Sizeof(luo.FDArg{})),
	luo.ReqFinish:     uint32(unsafe.Sizeof(luo.FinishArg{})),
	luo.ReqGetName:    uint32(unsafe.Sizeof(luo.NameArg{})),
}

func (s *session) ioctl(k *Kernel, request uint, arg unsafe.Pointer) syscall.Errno {
	size, known := sizes[request]
	if !known || *(*uint32)(arg) != size {
		return unix.EINVAL
	}
	switch request {
	case luo.ReqPreserveFD:
		if s.incoming {
			return unix.EINVAL
		}
		return s.preserve(k, (*luo.FDArg)(arg))
	case luo.ReqRetrieveFD:
		if !s.incoming {
			return unix.EINVAL
		}
		return s.retrieve((*luo.FDArg)(arg))
	case luo.ReqFinish:
		if !s.incoming || (*luo.FinishArg)(arg).Reserved != 0 {
			return unix.EINVAL
		}
		s.release()
		return 0
	case luo.ReqGetName:
		a := (*luo.NameArg)(arg)
		if a.Reserved != 0 {
			return unix.EINVAL
		}
		a.Name = [luo.NameLength]byte{}
		copy(a.Name[:], s.name)
		return 0
	}
	return unix.EINVAL
}

func (s *session) preserve(k *Kernel, a *luo.FDArg) syscall.Errno {
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
	for _, other := range k.sessions {
		for _, f := range other.files {
			var held unix.Stat_t
			if f.f != nil && unix.Fstat(int(f.f.Fd()), &held) == nil && held.Ino == st.Ino && held.Dev == st.Dev {
				return unix.EBUSY
			}
		}
	}
	f, errno := duplicate(int(a.FD))
	if errno != 0 {
		return errno
	}
	s.files = append(s.files, &file{token: a.Token, f: f})
	return 0
}

func (s *session) retrieve(a *luo.FDArg) syscall.Errno {
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

func duplicate(fd int) (*os.File, syscall.Errno) {
	d, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, unix.EBADF
	}
	return os.NewFile(uintptr(d), "preserved"), 0
}
