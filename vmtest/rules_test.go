package vmtest

import (
	"strings"
	"testing"

	"github.com/liveupdate/luod/vmtest/lab"
	"github.com/liveupdate/luod/vmtest/rig"
)

// The unit tests work with a fake kernel (luo/luofake): the same table of rules is tried
// on it and here, on both kernels and over a jump between them. The kernel's own tests
// run beside it, as a peer that knows nothing of luod.
func TestTheFakeKernelIsLikeTheRealOne(t *testing.T) {
	r := start(t, lab.Trixie, false, 0)
	now := func(kernel lab.Kernel) {
		t.Helper()
		kept(t, r, "now")
		if !r.Parts.Selftests {
			t.Log("without the kernel's own tests, of which there is no source")
			return
		}
		out := r.Sh(t, lab.SelftestPath(kernel)+" 2>&1 || true")
		if !strings.Contains(out, "# Totals: pass:") || !strings.Contains(out, " fail:0 ") || strings.Contains(out, "not ok") || strings.Contains(out, "SKIP") {
			t.Errorf("the kernel's own tests on %s:\n%s", r.Boot.Kernel, out)
		}
		t.Logf("%s: %s", r.Boot.Kernel, out[max(0, strings.LastIndex(out, "# Totals")):])
	}
	now(r.Parts.Older)
	check(t, r.Load(t.Context(), r.Parts.Newer))
	check(t, r.Jump(t.Context(), r.Parts.Newer, "/usr/lib/luod-lab/luorules jump"))
	kept(t, r, "after")
	now(r.Parts.Newer)
}

// kept has luorules look, and checks that it found every rule kept.
func kept(t *testing.T, r *rig.Rig, verb string) {
	t.Helper()
	out := strings.TrimSpace(r.Sh(t, "/usr/lib/luod-lab/luorules "+verb+" 2>&1 || true"))
	lines := strings.Split(out, "\n")
	for _, line := range lines {
		if !strings.HasPrefix(line, "ok ") {
			t.Errorf("%s: %s", r.Boot.Kernel, line)
		}
	}
	if len(lines) < 10 {
		t.Errorf("%s: only this was looked at:\n%s", r.Boot.Kernel, out)
	}
	t.Logf("%s: %d rules are kept", r.Boot.Kernel, len(lines))
}
