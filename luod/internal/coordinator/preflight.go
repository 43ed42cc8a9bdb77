package coordinator

import (
	"context"
	"errors"

	"github.com/liveupdate/luod/internal/loading"
	"github.com/liveupdate/luod/kexec/verdict"
	"github.com/liveupdate/luod/luod/internal/nextkernel"
)

// Check runs the preflight checks on what r names, or, if that is nothing and a
// kernel is loaded, on that one. Failed checks are in the report and no error.
func (c *Coordinator) Check(ctx context.Context, r nextkernel.Request) (verdict.Report, error) {
	unlock, err := c.Lock(ctx)
	if err != nil {
		return verdict.Report{}, err
	}
	request := r.Ask(loading.Check, c.Rec.Generation+1)
	if r.Entry == "" && r.CommandLine == "" && len(r.Initrds) == 0 && c.Rec.Loaded != nil {
		request = c.AgainLocked(loading.Check, r.Override)
	}
	unlock()
	answer, err := c.Ask(ctx, request)
	if answer.Report == nil {
		return verdict.Report{}, err
	}
	report := *answer.Report
	report.Results = append(append(report.Results, c.checkServices(ctx)...), c.checkMemory(ctx))
	return report, nil
}

// preflight checks everything once more before anything is stopped. Unless the kernel's
// count of loads and the files prove that what is loaded is still what was checked, it
// is loaded again, whatever others have loaded meanwhile.
//
// Killed while it is loaded again: the record has the count of before, which the kernel
// no longer says, so that the next update loads it once more.
func (c *Coordinator) preflight(u *update) error {
	var request loading.Request
	if err := c.inside(u, func() error { request = c.AgainLocked(loading.Load, u.options.Override); return nil }); err != nil {
		return err
	}
	// It is brief, and one that is killed leaves nobody knowing what is loaded: a
	// cancellation waits for it.
	answer, err := c.Ask(context.WithoutCancel(u.ctx), request)
	unlock, stopped := c.Lock(context.Background())
	if stopped != nil {
		return errors.Join(err, stopped)
	}
	defer unlock()
	switch {
	case err == nil:
		c.Rec.Loaded.Proof = answer.Proof
	case answer.Kind != loading.CheckFailed:
		// What is loaded now is not known, unless the answer says that it was left.
		c.Rec.Loaded = nil
	}
	return err
}
