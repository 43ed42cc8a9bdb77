package coordinator

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/liveupdate/luod/internal/printable"
	"github.com/liveupdate/luod/kexec/verdict"
	"github.com/liveupdate/luod/luod/internal/record"
)

// checkServices adds to the checks of a kernel those of what has to come along:
// that everybody who takes part can be asked, and that the fd stores hold only what
// a kernel carries.
func (c *Coordinator) checkServices(ctx context.Context) []verdict.Result {
	plan, err := c.plan(ctx, record.Options{})
	if plan.declared == nil {
		return []verdict.Result{{Name: "services", Verdict: verdict.Fail, Reason: err.Error(), Remedy: "correct the unit files; see luod(8), UNIT FILES"}}
	}
	results := []verdict.Result{{Name: "services", Verdict: verdict.OK, Reason: fmt.Sprintf("%d of them are asked before an update", len(plan.members))}}
	switch {
	case err != nil:
		return append(results, verdict.Result{Name: "fd-stores", Verdict: verdict.Fail, Reason: err.Error(), Remedy: "see luod(8), FILE DESCRIPTOR STORES"})
	case len(plan.without) > 0:
		for _, l := range plan.without {
			results = append(results, verdict.Result{Name: "fd-stores", Verdict: verdict.Warn, Reason: l.Unit + ": " + l.Reason, Remedy: "OnFailure=ignore in its unit file says so"})
		}
		return results
	}
	n := 0
	var anew []string
	for _, unit := range slices.Sorted(maps.Keys(plan.stores)) {
		n += len(plan.stores[unit].Entries)
		for _, e := range plan.stores[unit].Entries {
			if !e.Memfd {
				anew = append(anew, fmt.Sprintf("%q of %s (%s)", e.Name, unit, printable.Line(e.Path)))
			}
		}
	}
	reason := fmt.Sprintf("%d entries of %d units come along", n, len(plan.stores))
	if len(anew) > 0 {
		reason += fmt.Sprintf("; re-created: %s, unless an update finds that one can't be, and is taken back", strings.Join(anew, ", "))
	}
	return append(results, verdict.Result{Name: "fd-stores", Verdict: verdict.OK, Reason: reason})
}
