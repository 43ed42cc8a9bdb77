package pid1

import (
	"context"
	"testing"

	"github.com/liveupdate/luod/kexec"
)

func TestTriggerRefusesWithoutAKernel(t *testing.T) {
	if is, err := kexec.Loaded(); err == nil && is {
		t.Skip("this machine has a kernel loaded, and the test must not boot it; the virtual machines jump for real")
	}
	if results, err := trigger(context.Background()); err == nil || results != nil {
		t.Errorf("got %v, %v", results, err)
	}
}
