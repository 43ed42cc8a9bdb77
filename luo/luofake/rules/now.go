package rules

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/luo/internal/uapi"
)

// All is the table; each row uses names of its own, so that all can be tried at once.
var All = append(now, jumping...)

// now are the rules that need no jump.
var now = []Rule{
	{Name: "the device is open once", Before: func(t *Try) error { // luo_core.c: luo_open
		first, err := t.Open()
		if err != nil {
			return err
		}
		t.keep(first)
		if _, err := t.Open(); !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("open it again: %v", err)
		}
		first.Close()
		again, err := t.Open()
		if err == nil {
			t.keep(again)
		}
		return wants("open it after it was closed", err, nil)
	}},
	{Name: "a session's name has 1 to 63 bytes", Before: func(t *Try) error { // luo_session.c: luo_session_create
		device, err := t.Open()
		if err != nil {
			return err
		}
		create := func(name string) error {
			arg := &uapi.SessionArg{FD: -1}
			arg.Size = uint32(unsafe.Sizeof(*arg))
			copy(arg.Name[:], name)
			errno := t.Ioctl(device, uapi.ReqCreateSession, unsafe.Pointer(arg))
			if errno != 0 {
				return errno
			}
			s := t.LUO().SessionFromFile(os.NewFile(uintptr(arg.FD), name))
			t.keep(s)
			if got, err := s.Name(); err != nil || got != name {
				return fmt.Errorf("it is called %q, %v", got, err)
			}
			return nil
		}
		defer device.Close()
		return firstOf(
			wants("none", create(""), unix.EINVAL),
			wants("64 bytes without an end", create(strings.Repeat("X", 64)), unix.EINVAL),
			wants("63 bytes", create(strings.Repeat("A", 63)), nil),
			wants("one byte", create("B"), nil),
		)
	}},
	{Name: "outgoing sessions have different names", Before: func(t *Try) error { // luo_session.c: luo_session_insert
		s, err := t.create("rule-name")
		if err != nil {
			return err
		}
		_, again := t.create("rule-name")
		_, other := t.create("rule-name-2")
		s.Close()
		_, after := t.create("rule-name")
		return firstOf(wants("the same", again, unix.EEXIST), wants("another", other, nil), wants("the same after a close", after, nil))
	}},
	{Name: "a duplicate keeps a session", Before: func(t *Try) error { // luo_session.c: luo_session_release
		s, err := t.create("rule-duplicate")
		if err != nil {
			return err
		}
		fd, err := unix.FcntlInt(s.File().Fd(), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return err
		}
		again := os.NewFile(uintptr(fd), "duplicate")
		s.Close()
		_, kept := t.create("rule-duplicate")
		again.Close()
		_, gone := t.create("rule-duplicate")
		return firstOf(wants("while it is open", kept, unix.EEXIST), wants("when it is closed", gone, nil))
	}},
	{Name: "a session that nobody handed over isn't there", Before: func(t *Try) error {
		_, err := t.retrieve("rule-nobody")
		return wants("retrieve it", err, unix.ENOENT)
	}},
	{Name: "requests of another kind are refused", Before: func(t *Try) error { // luo_session.c: luo_session_ioctl
		s, err := t.create("rule-requests")
		if err != nil {
			return err
		}
		name := func(size, reserved uint32, tail byte) error {
			arg := struct {
				uapi.NameArg
				tail [8]byte
			}{NameArg: uapi.NameArg{Size: size, Reserved: reserved}}
			arg.tail[7] = tail
			if errno := t.Ioctl(s.File(), uapi.ReqGetName, unsafe.Pointer(&arg)); errno != 0 {
				return errno
			}
			return nil
		}
		raw := func(request uint) error {
			arg := &uapi.SessionArg{Size: uint32(unsafe.Sizeof(uapi.SessionArg{})), Name: [uapi.NameLength]byte{'x'}}
			if errno := t.Ioctl(s.File(), request, unsafe.Pointer(arg)); errno != 0 {
				return errno
			}
			return nil
		}
		whole := uint32(unsafe.Sizeof(uapi.NameArg{}))
		_, fetch := s.RetrieveFD(1)
		return firstOf(
			wants("a short structure", name(4, 0, 0), unix.EINVAL),
			wants("what is reserved", name(whole, 1, 0), unix.EINVAL),
			wants("a newer structure without anything new", name(whole+8, 0, 0), nil),
			wants("a newer structure", name(whole+8, 0, 1), unix.E2BIG),
			wants("an unknown request", raw(0xBA7F), unix.EINVAL),
			wants("the device's request", raw(uapi.ReqCreateSession), unix.EINVAL),
			wants("finish an outgoing session", s.Finish(), unix.EINVAL),
			wants("retrieve from an outgoing session", fetch, unix.EINVAL),
		)
	}},
	{Name: "the contents stay while a file is preserved and after", Before: func(t *Try) error {
		s, err := t.create("rule-contents")
		if err != nil {
			return err
		}
		files := map[string]*os.File{}
		for token, text := range []string{"data for memfd one", "", "data for memfd two"} {
			f, err := t.memfd(0, text)
			if err == nil {
				err = s.PreserveFD(f, uint64(token))
			}
			if err == nil {
				err = content(f, text)
			}
			if err != nil {
				return err
			}
			files[text] = f
		}
		s.Close()
		for text, f := range files {
			if err := content(f, text); err != nil {
				return err
			}
		}
		return nil
	}},
	{Name: "only memfds have a handler", Before: func(t *Try) error { // memfd_luo.c: memfd_luo_can_preserve
		s, err := t.create("rule-handler")
		if err != nil {
			return err
		}
		null, err := os.Open("/dev/null")
		if err != nil {
			return err
		}
		t.keep(null)
		r, w, err := os.Pipe()
		if err != nil {
			return err
		}
		t.keep(r)
		t.keep(w)
		f, err := t.memfd(0, "x")
		if err != nil {
			return err
		}
		fd, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		path := os.NewFile(uintptr(fd), "path")
		t.keep(path)
		closed, err := t.memfd(0, "x")
		if err != nil {
			return err
		}
		closed.Close()
		checks := []error{
			wants("a device", s.PreserveFD(null, 1), unix.ENOENT),
			wants("a pipe", s.PreserveFD(r, 1), unix.ENOENT),
			wants("a session", s.PreserveFD(s.File(), 1), unix.ENOENT),
			wants("an O_PATH descriptor", s.PreserveFD(path, 1), unix.EBADF),
			wants("a closed file", s.PreserveFD(closed, 1), unix.EBADF),
		}
		if fd, err := unix.MemfdCreate("huge", unix.MFD_CLOEXEC|unix.MFD_HUGETLB); err == nil {
			huge := os.NewFile(uintptr(fd), "huge")
			t.keep(huge)
			checks = append(checks, wants("huge pages", s.PreserveFD(huge, 1), unix.ENOENT))
		}
		if named, err := os.CreateTemp("/dev/shm", "rule-"); err == nil {
			os.Remove(named.Name() + ".none")
			checks = append(checks, wants("a file with a name on a tmpfs", s.PreserveFD(named, 1), unix.ENOENT))
			os.Remove(named.Name())
			named.Close()
		}
		return firstOf(checks...)
	}},
	{Name: "a file is preserved once, under one token", Before: func(t *Try) error { // luo_file.c: luo_preserve_file
		a, err := t.create("rule-once-1")
		if err != nil {
			return err
		}
		b, err := t.create("rule-once-2")
		if err != nil {
			return err
		}
		f, err := t.memfd(0, "x")
		if err != nil {
			return err
		}
		g, err := t.memfd(0, "y")
		if err != nil {
			return err
		}
		again, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
		if err != nil {
			return err
		}
		t.keep(again)
		closed, err := t.memfd(0, "z")
		if err != nil {
			return err
		}
		closed.Close()
		if err := firstOf(
			wants("the first time", a.PreserveFD(f, 1), nil),
			wants("in another session", b.PreserveFD(f, 2), unix.EBUSY),
			wants("under another token", a.PreserveFD(f, 3), unix.EBUSY),
			wants("another description of it", b.PreserveFD(again, 2), unix.EBUSY),
			wants("another file under the token", a.PreserveFD(g, 1), unix.EEXIST),
			wants("a closed file under the token", a.PreserveFD(closed, 1), unix.EEXIST),
			wants("the token in another session", b.PreserveFD(g, 1), nil),
		); err != nil {
			return err
		}
		a.Close()
		return wants("after the session was closed", b.PreserveFD(f, 2), nil)
	}},
	{Name: "holes are filled and stay so", Before: func(t *Try) error { // memfd_luo.c: memfd_luo_preserve_folios
		s, err := t.create("rule-holes")
		if err != nil {
			return err
		}
		const size = 1<<20 + 5
		var files []*os.File
		for token, readOnly := range []bool{false, true} {
			f, err := t.sparse(size)
			if err != nil {
				return err
			}
			given := f
			if readOnly {
				if given, err = os.Open(fmt.Sprintf("/proc/self/fd/%d", f.Fd())); err != nil {
					return err
				}
				t.keep(given)
			}
			if err := s.PreserveFD(given, uint64(token)); err != nil {
				return err
			}
			if err := filled(f, size); err != nil {
				return err
			}
			files = append(files, f)
		}
		s.Close()
		for _, f := range files {
			if err := filled(f, size); err != nil {
				return fmt.Errorf("when its session is closed: %w", err)
			}
		}
		return nil
	}},
	{Name: "the size is fixed while a file is preserved", Before: func(t *Try) error { // shmem.c: SHMEM_F_MAPPING_FROZEN
		s, err := t.create("rule-size")
		if err != nil {
			return err
		}
		f, err := t.memfd(0, strings.Repeat("x", 9000))
		if err != nil {
			return err
		}
		if err := s.PreserveFD(f, 1); err != nil {
			return err
		}
		_, write := f.WriteAt([]byte("yy"), 5000)
		if err := firstOf(
			wants("larger", t.Truncate(f, 9001), unix.EPERM),
			wants("smaller", t.Truncate(f, 1), unix.EPERM),
			wants("the same", t.Truncate(f, 9000), nil),
			wants("write to it", write, nil),
		); err != nil {
			return err
		}
		s.Close()
		return wants("larger, after the session was closed", t.Truncate(f, 9001), nil)
	}},
	{Name: "nothing is written behind the end of a preserved file", RealOnly: "a fake can't keep anybody from writing", Before: func(t *Try) error { // shmem.c: shmem_write_begin
		s, err := t.create("rule-end")
		if err != nil {
			return err
		}
		f, err := t.memfd(0, "x")
		if err != nil {
			return err
		}
		if err := s.PreserveFD(f, 1); err != nil {
			return err
		}
		_, write := f.WriteAt([]byte("y"), 1)
		return wants("write there", write, unix.EPERM)
	}},
	{Name: "a file for whose pages there is no list is refused and stays as it is", Before: func(t *Try) error { // memfd_luo.c, slub.c
		s, err := t.create("rule-memory")
		if err != nil {
			return err
		}
		f, err := t.sparse(2 << 40)
		if err != nil {
			return err
		}
		refused := s.PreserveFD(f, 1)
		st, err := stat(f)
		if err != nil {
			return err
		}
		if st.Blocks != 0 {
			return fmt.Errorf("it got %d bytes", st.Blocks*512)
		}
		return firstOf(
			wants("preserve it", refused, unix.ENOMEM),
			wants("make it smaller", t.Truncate(f, 5), nil),
			wants("preserve it then", s.PreserveFD(f, 1), nil),
		)
	}},
	{Name: "a file of more than 2^32-1 pages is refused", Before: func(t *Try) error { // memfd_luo.c: memfd_luo_preserve
		s, err := t.create("rule-pages")
		if err != nil {
			return err
		}
		f, err := t.sparse(4096 << 32)
		if err != nil {
			return err
		}
		return wants("preserve it", s.PreserveFD(f, 1), unix.EFBIG)
	}},
	{Name: "unknown seals are refused", FakeOnly: "a kernel knows all the seals that it can set", Before: func(t *Try) error { // memfd_luo.c: MEMFD_LUO_ALL_SEALS
		s, err := t.create("rule-seals")
		if err != nil {
			return err
		}
		f, err := t.memfd(unix.MFD_ALLOW_SEALING, "x")
		if err == nil {
			err = addSeals(f, unix.F_SEAL_GROW)
		}
		if err != nil {
			return err
		}
		t.Kernel.(interface{ SetSeals(int) }).SetSeals(unix.F_SEAL_WRITE)
		return wants("preserve it", s.PreserveFD(f, 1), unix.EOPNOTSUPP)
	}},
	{Name: "many sessions and many files", Before: func(t *Try) error {
		for i := range 50 {
			if _, err := t.create(fmt.Sprintf("rule-many-%d", i)); err != nil {
				return err
			}
		}
		s, err := t.create("rule-many-files")
		if err != nil {
			return err
		}
		for i := range 300 {
			f, err := t.memfd(0, "x")
			if err == nil {
				err = s.PreserveFD(f, uint64(i))
			}
			if err != nil {
				return err
			}
		}
		return nil
	}},
}

func filled(f *os.File, size int64) error {
	st, err := stat(f)
	if err == nil && st.Blocks*512 < size {
		err = fmt.Errorf("it has %d bytes of %d", st.Blocks*512, size)
	}
	return err
}
