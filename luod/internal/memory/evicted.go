package memory

import (
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sysCachestat is the number of cachestat(2) on every architecture that Linux 6.5, which
// brought it, was for (include/uapi/asm-generic/unistd.h); alpha has another.
const sysCachestat = 451

// cachestatRange and cachestat are of include/uapi/linux/mman.h. A length of 0 means to
// the end.
type cachestatRange struct{ off, length uint64 }

type cachestat struct{ cache, dirty, writeback, evicted, recentlyEvicted uint64 }

// evicted borrows f and returns how many bytes of it are swapped out. Where the kernel
// doesn't tell, all that it has may be.
func evicted(f *os.File, allocated int64) int64 {
	defer runtime.KeepAlive(f)
	var (
		all  cachestatRange
		stat cachestat
	)
	_, _, errno := unix.Syscall6(sysCachestat, f.Fd(), uintptr(unsafe.Pointer(&all)), uintptr(unsafe.Pointer(&stat)), 0, 0, 0)
	if errno != 0 {
		return allocated
	}
	return min(int64(stat.evicted)*pageSize, allocated)
}
