// Package fileid tells files from each other, whatever they are called and through whichever
// descriptor they are looked at. An ID is good as long as the file is open somewhere.
package fileid

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// ID is what tells a file from others: st_dev and st_ino of stat(2).
type ID struct{ Device, Inode uint64 }

// Of borrows f. It doesn't wait for a file system unless f is on one that hangs; the error
// is fstat(2)'s.
func Of(f *os.File) (ID, error) {
	defer runtime.KeepAlive(f)
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return ID{}, fmt.Errorf("look at a file descriptor: %w", err)
	}
	return From(&st), nil
}

// From is the ID in what stat(2) has said.
func From(st *unix.Stat_t) ID { return ID{st.Dev, st.Ino} }
