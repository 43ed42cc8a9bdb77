package bundle

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/scmrights"
)

// Go can't end the main thread: no test shall run on it.
func init() { runtime.LockOSThread() }

func TestMain(m *testing.M) {
	as := map[string]func() error{"confined": sendConfined, "old": addUnderAnOldUnit}[os.Getenv("LUOD_TEST_AS")]
	if as == nil {
		os.Exit(m.Run())
	}
	if err := as(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// runAs runs this program as one of those.
func runAs(what string) error {
	program := exec.Command("/proc/self/exe")
	program.Env = append(os.Environ(), "LUOD_TEST_AS="+what)
	if out, err := program.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// drop gives capabilities of this thread up.
func drop(capabilities ...int) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return err
	}
	for _, c := range capabilities {
		data[0].Effective &^= 1 << c
		data[0].Permitted &^= 1 << c
	}
	return unix.Capset(&header, &data[0])
}

// sendConfined is a daemon of root that may open 1,024 files and has no capability
// that lets it send more than that. It sends one descriptor.
func sendConfined() error {
	if uid := unix.Getuid(); uid != 0 {
		return fmt.Errorf("the user is %d", uid)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 1024, Max: 1024}); err != nil {
		return err
	}
	if err := drop(unix.CAP_SYS_ADMIN, unix.CAP_SYS_RESOURCE); err != nil {
		return err
	}
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	// Other tests of other processes may be root's as well, and short.
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		err := unix.Sendmsg(fds[0], []byte{0}, unix.UnixRights(fds[1]), nil, unix.MSG_NOSIGNAL)
		if err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

// addUnderAnOldUnit adds to a bundle where setresuid(2) kills.
func addUnderAnOldUnit() error {
	if err := drop(unix.CAP_SETUID); err != nil {
		return err
	}
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // seccomp_data.nr
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_SETRESUID, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_KILL_PROCESS},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program))); errno != 0 {
		return errno
	}
	b, r, err := New()
	if err != nil {
		return err
	}
	if _, err := b.Add([]Item{{Owner: "a.service", Name: "n", File: r}}); err != nil {
		return err
	}
	got, err := Read(r)
	if err != nil || len(got) != 1 {
		return fmt.Errorf("read %d: %w", len(got), err)
	}
	return nil
}

func needsRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 || !maySetUID() {
		t.Skip("needs root with CAP_SETUID")
	}
}

// realUIDs counts the threads of this process by their real user IDs.
func realUIDs(t *testing.T) map[string]int {
	t.Helper()
	list, err := filepath.Glob("/proc/self/task/*/status")
	if err != nil {
		t.Fatal(err)
	}
	uids := map[string]int{}
	for _, path := range list {
		status, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		if m := regexp.MustCompile(`(?m)^Uid:\t(\d+)`).FindSubmatch(status); m != nil {
			uids[string(m[1])]++
		}
	}
	return uids
}

func TestWhatIsInBundlesKeepsNobodyFromSending(t *testing.T) {
	needsRoot(t)
	f := memfd(t, "x")
	defer f.Close()
	items := make([]Item, scmrights.Max)
	for i := range items {
		items[i] = Item{Owner: "a.service", Name: fmt.Sprint(i), File: f}
	}
	held := 0
	for held <= 2000 {
		b, r, err := New()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		defer b.Close()
		for held <= 2000 {
			n, err := b.Add(items)
			if errors.Is(err, ErrFull) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			held += n
		}
	}
	if err := runAs("confined"); err != nil {
		t.Errorf("with %d descriptors in bundles a confined daemon can't send one: %v", held, err)
	}
}

func TestAnOldUnitFileKillsNobody(t *testing.T) {
	needsRoot(t)
	if err := runAs("old"); err != nil {
		t.Error(err)
	}
}

func TestNoThreadStaysOnOthersAccount(t *testing.T) {
	needsRoot(t)
	var wait sync.WaitGroup
	for range 20 {
		wait.Go(func() {
			for range 50 {
				if err := onOthersAccount(func() error {
					if unix.Getuid() != bundlesUID || unix.Geteuid() != 0 {
						return fmt.Errorf("it is done as %d and %d", unix.Getuid(), unix.Geteuid())
					}
					return nil
				}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
	if uids := realUIDs(t); uids["0"] == 0 || len(uids) != 1 {
		t.Errorf("threads by their user: %v", uids)
	}
}

// A thread that is not what it was ends.
func TestAThreadThatCanNotGoBackEnds(t *testing.T) {
	needsRoot(t)
	tid := 0
	set := func(uid int) error {
		tid = unix.Gettid()
		if uid == 0 {
			return unix.EAGAIN
		}
		return setRealUID(uid)
	}
	if err := withRealUID(bundlesUID, set, func() error { return nil }); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(fmt.Sprintf("/proc/self/task/%d", tid)); os.IsNotExist(err) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("thread %d still runs: %v", tid, realUIDs(t))
		}
	}
	if uids := realUIDs(t); len(uids) != 1 {
		t.Errorf("threads by their user: %v", uids)
	}
}

func TestWithoutThePrivilegeItIsSentAsItIs(t *testing.T) {
	for _, refused := range []error{unix.EPERM, unix.EINVAL} {
		uid, calls := -1, 0
		set := func(int) error { calls++; return refused }
		want := errors.New("what came of it")
		if err := withRealUID(bundlesUID, set, func() error { uid = unix.Getuid(); return want }); err != want {
			t.Errorf("got %v", err)
		}
		if uid != os.Getuid() || calls != 1 {
			t.Errorf("%v: done as %d, after %d calls", refused, uid, calls)
		}
	}
}

// luod must be allowed what it tries: the filter kills who does what is denied.
func TestTheUnitAllowsIt(t *testing.T) {
	unit, err := os.ReadFile("../../../units/luod.service")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`(?m)^CapabilityBoundingSet=.*\bCAP_SETUID\b`, `(?m)^SystemCallFilter=[^~].*\bsetresuid\b`} {
		if !regexp.MustCompile(want).Match(unit) {
			t.Errorf("there is no %s", strings.TrimPrefix(want, "(?m)"))
		}
	}
}
