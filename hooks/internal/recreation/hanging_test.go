package recreation

import (
	"errors"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/hooks/internal/patience"
	"github.com/liveupdate/luod/internal/deadfs"
)

func TestADeadFileIsSaidToBeSo(t *testing.T) {
	dead := deadfs.Mount(t)
	fd, err := unix.FcntlInt(uintptr(dead.Open(t, unix.O_RDWR)), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "dead") // which Describe keeps at last
	defer dead.LetGo()
	if _, err := here.Describe(f); err == nil || errors.Is(err, patience.ErrSilent) {
		t.Fatalf("while it answers: %v", err)
	}
	dead.Die()
	host := Host{Init: "/proc/self", Limit: 20 * time.Millisecond}
	if _, err := host.Describe(f); !errors.Is(err, patience.ErrSilent) {
		t.Fatalf("got %v", err)
	}
}
