package vmtest

import (
	"testing"

	"github.com/liveupdate/luod/vmtest/lab"
)

// 64 services with 8 files each, and one of 100 MiB more: every file has to come
// back to the service that handed it over, byte for byte.
func TestManyServicesGetTheirOwnBack(t *testing.T) {
	repeats(t)
	r := start(t, lab.Trixie, false, 2048)
	enable(t, r, 64)
	walk(t, r, 64, r.Parts.Newer)
}
