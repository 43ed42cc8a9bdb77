package fdstores

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// FileID is what tells a file from others: st_dev and st_ino.
type FileID struct{ Device, Inode uint64 }

// IDOf borrows f and returns what tells its file from others. The error is fstat's.
func IDOf(f *os.File) (FileID, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return FileID{}, fmt.Errorf("look at a file descriptor: %w", err)
	}
	return FileID{st.Dev, st.Ino}, nil
}
