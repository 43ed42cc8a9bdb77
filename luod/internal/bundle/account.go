package bundle

import (
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// bundlesUID is the real user ID on whose account what lies in bundles is in flight.
//
// The kernel counts the descriptors in flight of each user, by the real user ID of
// the thread that sends, and lets nobody without CAP_SYS_RESOURCE send one more
// while that user has more of them than the sender's RLIMIT_NOFILE (net/core/scm.c
// and net/unix/af_unix.c: too_many_unix_fds). In bundles they are in flight for
// ever. On root's account, 1,024 of them would be the end of SCM_RIGHTS for every
// daemon of root that is confined: ETOOMANYREFS.
//
// It must be nobody's: whoever has it would be in root's place, and could signal
// luod while it sends (kill(2)). systemd, Debian and Fedora allot 65520 to 65533
// to nobody (https://systemd.io/UIDS-GIDS), of which container images use the last
// ones for themselves; 65534 is nobody's only by its name, and everything that has
// no owner runs under it. It is below 65536, so that a user namespace of the usual
// size has it as well.
const bundlesUID = 65523

// onOthersAccount has a thread do what with the real user ID bundlesUID, or, where
// that is not allowed, as it is: without CAP_SETUID, in a user namespace without that
// ID. Only the real ID of the one thread changes, so that it has all its privileges.
func onOthersAccount(what func() error) error {
	if !maySetUID() {
		return what()
	}
	return withRealUID(bundlesUID, setRealUID, what)
}

// maySetUID says whether this process has CAP_SETUID. Without it nothing is tried: a
// new luod may run for a moment under the unit file of an older one, whose filter kills
// who calls setresuid(2).
var maySetUID = sync.OnceValue(func() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	return unix.Capget(&header, &data[0]) == nil && data[0].Effective&(1<<unix.CAP_SETUID) != 0
})

// withRealUID does what in a goroutine of its own on a thread of its own. That thread
// does other work again only if it certainly is what it was before: else it stays
// locked and ends with the goroutine (runtime.LockOSThread). No thread is made as a
// copy of a locked one.
func withRealUID(uid int, set func(uid int) error, what func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		was := unix.Getuid()
		changed := set(uid) == nil
		err := what()
		if !changed || set(was) == nil {
			runtime.UnlockOSThread()
		}
		done <- err
	}()
	return <-done
}

// setRealUID is setresuid(2) for this thread alone; syscall.Setresuid is for all.
func setRealUID(uid int) error {
	const unchanged = ^uintptr(0)
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), unchanged, unchanged); errno != 0 {
		return errno
	}
	return nil
}
