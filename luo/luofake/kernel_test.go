package luofake_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/luo"
	"github.com/liveupdate/luod/luo/internal/uapi"
	"github.com/liveupdate/luod/luo/luofake"
)

var ctx = context.Background()

func memfd(t *testing.T, content string, flags int) *os.File {
	t.Helper()
	fd, err := unix.MemfdCreate("t", flags|unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "memfd")
	t.Cleanup(func() { f.Close() })
	if _, err := f.WriteString(content); err != nil {
		t.Fatal(err)
	}
	return f
}

func create(t *testing.T, k *luofake.Kernel, name string) *luo.Session {
	t.Helper()
	s, err := k.LUO().CreateSession(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func retrieve(t *testing.T, k *luofake.Kernel, name string) *luo.Session {
	t.Helper()
	s, err := k.LUO().RetrieveSession(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func preserve(t *testing.T, s *luo.Session, f *os.File, token uint64) {
	t.Helper()
	if err := s.PreserveFD(f, token); err != nil {
		t.Fatal(err)
	}
}

func fetch(t *testing.T, s *luo.Session, token uint64) *os.File {
	t.Helper()
	f, err := s.RetrieveFD(token)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func kexec(t *testing.T, k *luofake.Kernel) *luofake.Kernel {
	t.Helper()
	next, err := k.Kexec()
	if err != nil {
		t.Fatal(err)
	}
	return next
}

func seals(t *testing.T, f *os.File) int {
	t.Helper()
	n, err := unix.FcntlInt(f.Fd(), unix.F_GET_SEALS, 0)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func openFDs(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestSizePositionAndSealsComeThrough(t *testing.T) {
	k := luofake.New()
	s := create(t, k, "a")
	f := memfd(t, "hello", unix.MFD_ALLOW_SEALING)
	const sealed = unix.F_SEAL_SHRINK | unix.F_SEAL_WRITE
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, sealed); err != nil {
		t.Fatal(err)
	}
	unsealable := memfd(t, "plain", 0)
	preserve(t, s, f, 9)
	preserve(t, s, unsealable, 0)
	// The freeze takes the position of the last moment.
	if _, err := f.Seek(2, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if out := k.Outgoing(); !slices.Equal(out["a"], []uint64{9, 0}) {
		t.Errorf("preserved in the order %v", out)
	}
	in := retrieve(t, kexec(t, k), "a")
	back := fetch(t, in, 9)
	if rest, _ := io.ReadAll(back); string(rest) != "llo" {
		t.Errorf("from its position on it has %q", rest)
	}
	if got := seals(t, back); got != sealed {
		t.Errorf("seals %#x, want %#x", got, sealed)
	}
	if got := seals(t, fetch(t, in, 0)); got != unix.F_SEAL_SEAL {
		t.Errorf("what could not be sealed has seals %#x", got)
	}
	flags, err := unix.FcntlInt(back.Fd(), unix.F_GETFD, 0)
	if err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("descriptor flags %#x, %v", flags, err)
	}
}

func TestAFileThatIsOpenForWritingOrReadingOnlyComesBackForBoth(t *testing.T) {
	for _, mode := range []int{os.O_WRONLY, os.O_RDONLY} {
		k := luofake.New()
		s := create(t, k, "a")
		whole := memfd(t, "hello", 0)
		only, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", whole.Fd()), mode, 0)
		if err != nil {
			t.Fatal(err)
		}
		preserve(t, s, only, 1)
		only.Close()
		back := fetch(t, retrieve(t, kexec(t, k), "a"), 1)
		flags, err := unix.FcntlInt(back.Fd(), unix.F_GETFL, 0)
		if err != nil || flags&unix.O_ACCMODE != unix.O_RDWR {
			t.Errorf("flags %#x, %v", flags, err)
		}
	}
}

func TestAFileSealedAgainstExecutionComesBackReadOnly(t *testing.T) {
	k := luofake.New()
	f := memfd(t, "x", unix.MFD_NOEXEC_SEAL)
	if seals(t, f) != unix.F_SEAL_EXEC {
		t.Skip("this kernel has no MFD_NOEXEC_SEAL, which Linux 6.3 brought; those with LUO have it")
	}
	preserve(t, create(t, k, "a"), f, 1)
	const gained = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE | unix.F_SEAL_FUTURE_WRITE
	if got := seals(t, fetch(t, retrieve(t, kexec(t, k), "a"), 1)); got != unix.F_SEAL_EXEC|gained {
		t.Errorf("seals %#x", got)
	}
}

func TestOneFileIsInOneSession(t *testing.T) {
	k := luofake.New()
	a, b := create(t, k, "a"), create(t, k, "b")
	f := memfd(t, "x", 0)
	preserve(t, a, f, 1)
	if err := b.PreserveFD(f, 1); !errors.Is(err, unix.EBUSY) {
		t.Errorf("in a second session: %v", err)
	}
	a.Close()
	preserve(t, b, f, 1)

	next := kexec(t, k)
	in, out := retrieve(t, next, "b"), create(t, next, "b")
	back := fetch(t, in, 1)
	if err := out.PreserveFD(back, 1); !errors.Is(err, unix.EBUSY) {
		t.Errorf("before its session is finished: %v", err)
	}
	if err := in.PreserveFD(memfd(t, "y", 0), 2); !errors.Is(err, unix.EINVAL) {
		t.Errorf("into an incoming session: %v", err)
	}
	if err := in.Finish(); err != nil {
		t.Fatal(err)
	}
	preserve(t, out, back, 1)
	if _, err := in.RetrieveFD(1); !errors.Is(err, unix.ENOENT) {
		t.Errorf("from a finished session: %v", err)
	}
	if got := next.Incoming(); !slices.Equal(got, []string{"b"}) {
		t.Errorf("finished and not closed: incoming %v", got)
	}
	in.Close()
	next.Settle()
	if got := next.Incoming(); len(got) != 0 {
		t.Errorf("closed: incoming %v", got)
	}
}

func TestWhatIsNoMemfdIsRefused(t *testing.T) {
	s := create(t, luofake.New(), "a")
	onDisk, err := os.Create(t.TempDir() + "/f")
	if err != nil {
		t.Fatal(err)
	}
	defer onDisk.Close()
	closed := memfd(t, "", 0)
	closed.Close()
	fd, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", memfd(t, "", 0).Fd()), unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	path := os.NewFile(uintptr(fd), "path")
	defer path.Close()
	cases := []struct {
		what string
		f    *os.File
		want error
	}{
		{"a file on disk", onDisk, unix.ENOENT},
		{"a session", s.File(), unix.ENOENT},
		{"a closed file", closed, unix.EBADF},
		{"an O_PATH descriptor", path, unix.EBADF},
	}
	if fd, err := unix.MemfdCreate("huge", unix.MFD_CLOEXEC|unix.MFD_HUGETLB); err == nil {
		huge := os.NewFile(uintptr(fd), "huge")
		defer huge.Close()
		cases = append(cases, struct {
			what string
			f    *os.File
			want error
		}{"huge pages", huge, unix.ENOENT})
	}
	for _, c := range cases {
		if err := s.PreserveFD(c.f, 1); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.what, err, c.want)
		}
	}
}

func TestADuplicateInAMessageKeepsASession(t *testing.T) {
	k := luofake.New()
	s := create(t, k, "a")
	preserve(t, s, memfd(t, "x", 0), 1)
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[1])
	if err := unix.Sendmsg(pair[0], []byte{0}, unix.UnixRights(int(s.File().Fd())), nil, 0); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if out := k.Outgoing(); len(out) != 1 {
		t.Fatalf("it is in the queue and %v is preserved", out)
	}
	oob := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(pair[1], make([]byte, 1), oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(pair[0])
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil {
		t.Fatal(err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fds[0]), "received")
	if name, ok := k.LUO().SessionName(f); name != "a" || !ok {
		t.Errorf("received session %q, %v", name, ok)
	}
	f.Close()
	if out := k.Outgoing(); len(out) != 0 {
		t.Errorf("all is closed and %v is preserved", out)
	}
}

func TestOnlyOpenOutgoingSessionsReachTheNextKernel(t *testing.T) {
	k := luofake.New()
	preserve(t, create(t, k, "kept"), memfd(t, "x", 0), 1)
	create(t, k, "closed").Close()
	second := kexec(t, k)
	create(t, second, "empty")
	if got := second.Incoming(); !slices.Equal(got, []string{"kept"}) {
		t.Errorf("incoming %v", got)
	}
	// Nobody retrieved "kept" in the second kernel.
	third := kexec(t, second)
	if got := third.Incoming(); !slices.Equal(got, []string{"empty"}) {
		t.Errorf("incoming %v", got)
	}
	if _, err := third.LUO().RetrieveSession(ctx, "kept"); !errors.Is(err, unix.ENOENT) {
		t.Errorf("got %v", err)
	}
}

func TestTheOldKernelIsGone(t *testing.T) {
	k := luofake.New()
	s := create(t, k, "a")
	d, err := k.LUO().Open(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	kexec(t, k)
	if _, err := k.LUO().Open(ctx); !errors.Is(err, unix.EIO) {
		t.Errorf("open: %v", err)
	}
	if _, err := d.CreateSession("b"); !errors.Is(err, unix.EIO) {
		t.Errorf("create: %v", err)
	}
	if err := s.PreserveFD(memfd(t, "", 0), 1); !errors.Is(err, unix.EIO) {
		t.Errorf("preserve: %v", err)
	}
	if _, err := k.Kexec(); err == nil {
		t.Error("it booted twice")
	}
}

func TestFaultsHitOnce(t *testing.T) {
	k := luofake.New()
	k.FailNext(uapi.ReqCreateSession, unix.ENOMEM)
	if _, err := k.LUO().CreateSession(ctx, "a"); !errors.Is(err, unix.ENOMEM) {
		t.Errorf("got %v", err)
	}
	k.FailNextOpen(unix.EIO)
	if _, err := k.LUO().CreateSession(ctx, "a"); !errors.Is(err, unix.EIO) {
		t.Errorf("got %v", err)
	}
	create(t, k, "a")
	if k.DeviceOpen() {
		t.Error("the device stayed open")
	}
	d, err := k.LUO().Open(ctx)
	if err != nil || !k.DeviceOpen() {
		t.Fatalf("open: %v", err)
	}
	d.Close()
}

func TestRequestsToTheWrongDescriptorAreRefused(t *testing.T) {
	k := luofake.New()
	s := create(t, k, "a")
	device, err := k.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer device.Close()
	arg := &uapi.SessionArg{Name: [uapi.NameLength]byte{'b'}}
	arg.Size = uint32(unsafe.Sizeof(*arg))
	short := &uapi.FinishArg{Size: 4}
	stranger := memfd(t, "", 0)
	for _, c := range []struct {
		what    string
		f       *os.File
		request uint
		arg     unsafe.Pointer
		want    syscall.Errno
	}{
		{"create on a session", s.File(), uapi.ReqCreateSession, unsafe.Pointer(arg), unix.EINVAL},
		{"create on a stranger", stranger, uapi.ReqCreateSession, unsafe.Pointer(arg), unix.ENOTTY},
		{"finish on the device", device, uapi.ReqFinish, unsafe.Pointer(short), unix.EINVAL},
		{"a short structure", s.File(), uapi.ReqFinish, unsafe.Pointer(short), unix.EINVAL},
		{"an unknown request", s.File(), 0xBA7F, unsafe.Pointer(short), unix.EINVAL},
	} {
		if got := k.Ioctl(c.f, c.request, c.arg); got != c.want {
			t.Errorf("%s: got %v, want %v", c.what, got, c.want)
		}
	}
}

func TestNothingLeaks(t *testing.T) {
	memfd(t, "", 0).Close()
	before := openFDs(t)
	k := luofake.New()
	for range 3 {
		s, err := k.LUO().CreateSession(ctx, "a")
		if err != nil {
			t.Fatal(err)
		}
		f := memfd(t, "x", 0)
		preserve(t, s, f, 1)
		f.Close()
		_ = s.PreserveFD(s.File(), 2)
		next := kexec(t, k)
		s.Close()
		in, err := next.LUO().RetrieveSession(ctx, "a")
		if err != nil {
			t.Fatal(err)
		}
		f, err = in.RetrieveFD(1)
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		in.Close()
		next.Settle()
		k = next
	}
	if after := openFDs(t); after != before {
		t.Errorf("%d file descriptors before, %d after", before, after)
	}
}

func TestConcurrentUseIsSafe(t *testing.T) {
	k := luofake.New()
	var group sync.WaitGroup
	for _, name := range []string{"a", "b", "c", "d"} {
		f := memfd(t, name, 0)
		group.Go(func() {
			for range 20 {
				s, err := k.LUO().CreateSession(ctx, name)
				if err != nil {
					t.Error(err)
					return
				}
				if err := s.PreserveFD(f, 1); err != nil {
					t.Error(err)
				}
				s.Close()
			}
		})
	}
	group.Wait()
	if out := k.Outgoing(); len(out) != 0 {
		t.Errorf("left over: %v", slices.Collect(maps.Keys(out)))
	}
}

func TestHolesNeedMemory(t *testing.T) {
	k := luofake.New()
	s := create(t, k, "a")
	f := memfd(t, "x", 0)
	if err := f.Truncate(1 << 20); err != nil {
		t.Fatal(err)
	}
	k.SetMemory(1<<20 - 4097)
	if err := s.PreserveFD(f, 1); !errors.Is(err, unix.ENOMEM) {
		t.Errorf("got %v", err)
	}
	k.SetMemory(1<<20 - 4096)
	preserve(t, s, f, 1)
}

// The fake can't keep a test from what the kernel forbids, but it doesn't let it pass.
func TestASizeThatChangedMeanwhileIsAnError(t *testing.T) {
	k := luofake.New()
	f := memfd(t, "x", 0)
	preserve(t, create(t, k, "a"), f, 1)
	if err := f.Truncate(2); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Kexec(); err == nil {
		t.Error("the kernel jumped")
	}
}
