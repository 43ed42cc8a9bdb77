package vmtest

import (
	"os"
	"testing"

	"github.com/liveupdate/luod/vmtest/machine"
)

func TestZZ(t *testing.T) {
	parts := partsFor(t)
	r, err := parts.StartWithBootEntries(t.Context(), machine.Config{Name: t.Name(), Kernel: parts.Older})
	check(t, err)
	t.Cleanup(func() { r.Close() })
	res, err := r.Run(t.Context(), os.Getenv("ZZ"))
	t.Logf("%+v\n%s\n%s", err, res.Stdout, res.Stderr)
}
