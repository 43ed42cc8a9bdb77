package oldkernel

import (
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// variable says that this process shall get the filter.
const variable = "LUOD_TEST_OLD_KERNEL"

func init() {
	if os.Getenv(variable) == "" {
		return
	}
	if err := install(); err != nil {
		panic("make an old kernel of this one: " + err.Error())
	}
}

// Run says whether the test runs as on the old kernel. If not, it runs the test once
// more in a process that does, and fails or skips as that does. A test that isn't the
// whole of a Test function can't use it.
func Run(t *testing.T) bool {
	t.Helper()
	if os.Getenv(variable) != "" {
		return true
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.count=1", "-test.v")
	cmd.Env = append(os.Environ(), variable+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	text, err := cmd.CombinedOutput()
	t.Logf("on an old kernel:\n%s", text)
	if err != nil {
		t.Errorf("on an old kernel: %v", err)
	}
	return false
}
