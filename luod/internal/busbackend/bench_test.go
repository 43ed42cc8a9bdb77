package busbackend

import (
	"fmt"
	"os"
	"testing"

	"github.com/godbus/dbus/v5"
)

// BenchmarkPreserve hands 16 descriptors over in each call, as luod's client does.
func BenchmarkPreserve(b *testing.B) {

	_, r, _, conn := openWith(b, func(_ *registry, d *Server) { d.Meter.Rate, d.Meter.Burst = 1_000_000, 1_000_000 })
	var fds []handed
	for i := range 16 {
		f, err := os.CreateTemp("/dev/shm", "b")
		if err != nil {
			b.Fatal(err)
		}
		os.Remove(f.Name())
		defer f.Close()
		fds = append(fds, handed{fmt.Sprintf("fd-%d", i), dbus.UnixFD(f.Fd())})
	}
	_ = r
	b.ResetTimer()
	for range b.N {
		if err := call(conn, "Preserve", fds, none).Err; err != nil {
			b.Fatal(err)
		}
		for _, f := range r.files {
			f.Close()
		}
	}
}
