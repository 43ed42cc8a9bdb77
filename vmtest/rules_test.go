package vmtest

import (
	"strings"
	"testing"

	"github.com/liveupdate/luod/vmtest/lab"
)

// The unit tests work with a fake kernel (luo/luofake): the same table of rules is tried
// on it and here, on both kernels and over a jump between them. The kernel's own tests
// run beside it, as a peer that knows nothing of luod.
func TestTheFakeKernelIsLikeTheRealOne(t *testing.T) {
	r := start(t, lab.Trixie, false, 0)
	now := func(kernel lab.Kernel) {
		t.Helper()
		for _, line := range strings.Split(r.Sh(t, "/usr/lib/luod-lab/luorules now 2>&1 || true"), "\n") {
			if line != "" && !strings.HasPrefix(line, "ok ") {
				t.Errorf("%s: %s", r.Boot.Kernel, line)
			}
		}
		if !r.Parts.Selftests {
			t.Log("without the kernel's own tests, of which there is no source")
			return
		}
		out := r.Sh(t, lab.SelftestPath(kernel)+" 2>&1 || true")
		if !strings.Contains(out, "# Totals: pass:") || !strings.Contains(out, " fail:0 ") || strings.Contains(out, "not ok") || strings.Contains(out, "SKIP") {
			t.Errorf("the kernel's own tests on %s:\n%s", r.Boot.Kernel, out)
		}
	}
	now(r.Parts.Older)
	check(t, r.Load(t.Context(), r.Parts.Newer))
	check(t, r.Jump(t.Context(), r.Parts.Newer, "/usr/lib/luod-lab/luorules jump"))
	out := r.Sh(t, "/usr/lib/luod-lab/luorules after 2>&1 || true")
	for _, line := range strings.Split(strings.TrimSpace(out), "\n") {
		if !strings.HasPrefix(line, "ok ") {
			t.Errorf("from %s to %s: %s", r.Parts.Older.Release, r.Boot.Kernel, line)
		}
	}
	if strings.Count(out, "ok ") < 10 {
		t.Errorf("only this was looked at:\n%s", out)
	}
	now(r.Parts.Newer)
}
