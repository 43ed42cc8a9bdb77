package coordinator

import (
	"context"
	"errors"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/internal/loading"
	"github.com/liveupdate/luod/kexec/verdict"
	"github.com/liveupdate/luod/luod/internal/fault"
	"github.com/liveupdate/luod/luod/internal/record"
)

// Request is what Check and Load are asked for.
type Request struct {
	// Entry is a boot entry's ID, or the path of a kernel, or "" for the default
	// entry.
	Entry string
	// Initrds and CommandLine take the place of the entry's, if not empty.
	Initrds     []string
	CommandLine string
	// Override are the names of preflight checks that may fail.
	Override []string
}

func (r Request) ask(verb loading.Verb, generation uint64) loading.Request {
	return loading.Request{
		Verb: verb, Entry: r.Entry, Initrds: r.Initrds, CommandLine: r.CommandLine,
		Override: r.Override, Generation: generation,
	}
}

// Entries lists what there is to boot.
func (c *Coordinator) Entries(ctx context.Context) ([]loading.Entry, error) {
	answer, err := c.ask(ctx, loading.Request{Verb: loading.Entries})
	return answer.Entries, err
}

// Check runs the preflight checks on what r names, or, if that is nothing and a
// kernel is loaded, on that one. Failed checks are in the report and no error.
func (c *Coordinator) Check(ctx context.Context, r Request) (verdict.Report, error) {
	unlock, err := c.Lock(ctx)
	if err != nil {
		return verdict.Report{}, err
	}
	request := r.ask(loading.Check, c.Rec.Generation+1)
	if r.Entry == "" && r.CommandLine == "" && len(r.Initrds) == 0 && c.Rec.Loaded != nil {
		request = c.againLocked(loading.Check, r.Override)
	}
	unlock()
	answer, err := c.ask(ctx, request)
	if answer.Report == nil {
		return verdict.Report{}, err
	}
	report := *answer.Report
	report.Results = append(append(report.Results, c.checkServices(ctx)...), c.checkMemory(ctx))
	return report, nil
}

// againLocked asks for what is loaded once more, as it is.
func (c *Coordinator) againLocked(verb loading.Verb, override []string) loading.Request {
	l := c.Rec.Loaded
	return loading.Request{
		Verb: verb, Generation: l.Generation, Override: append(override, l.Overridden...),
		Again: &loading.Again{Target: l.Target, Digest: l.Digest, Known: l.Known, Proof: l.Proof},
	}
}

// freeLocked refuses what needs the kernel for itself while it is loaded, or an update
// under way.
func (c *Coordinator) freeLocked(what string) error {
	if c.loading {
		return fault.New(errorname.Busy, "%s: a kernel is being loaded; try again when it is", what)
	}
	if c.Rec.Phase.Underway() {
		return fault.New(errorname.Busy, "%s: a live update is under way (%s); try again when it is over", what, c.Rec.Phase)
	}
	return c.SteadyLocked(what)
}

// ask makes a fault of an answer that says no; the answer is returned as well.
func (c *Coordinator) ask(ctx context.Context, r loading.Request) (loading.Answer, error) {
	answer, err := c.Loader.Ask(ctx, r)
	if err != nil {
		return answer, fault.New(errorname.LoadFailed, "%w", err)
	}
	if answer.Error != "" {
		return answer, fault.New(string(answer.Kind), "%s", answer.Error)
	}
	if answer.Report == nil && r.Verb != loading.Entries {
		return answer, fault.New(errorname.LoadFailed, "luod-kexec answered without a report")
	}
	return answer, nil
}

// Load checks and loads the kernel that the next live update boots.
//
// Killed while it is loaded: the record says that nothing is loaded, and the
// update refuses a kernel that it knows nothing of.
func (c *Coordinator) Load(ctx context.Context, r Request) (record.Loaded, verdict.Report, error) {
	request, err := c.beginLoading(ctx, r)
	if err != nil {
		return record.Loaded{}, verdict.Report{}, err
	}
	answer, askError := c.ask(ctx, request)
	var report verdict.Report
	if answer.Report != nil {
		report = *answer.Report
	}
	unlock, err := c.Lock(context.WithoutCancel(ctx))
	if err != nil {
		return record.Loaded{}, report, err
	}
	defer unlock()
	c.loading = false
	if askError != nil {
		// A refusal has changed nothing; after anything else nobody knows.
		if answer.Kind == loading.CheckFailed || answer.Kind == loading.NoEntry || answer.Kind == loading.BadRequest {
			c.Rec.Loaded = c.previous
		}
		_ = c.SaveLocked()
		return record.Loaded{}, report, askError
	}
	c.Rec.Loaded = &record.Loaded{
		Target: report.Target, Release: report.Release, Digest: report.Digest,
		Generation: request.Generation, Overridden: r.Override, Known: report.Results, Proof: answer.Proof,
	}
	c.Log.Info("loaded a kernel", "kernel", report.Target.Kernel, "release", report.Release, "initrds", report.Target.Initrds, "commandLine", report.Target.CommandLine)
	return *c.Rec.Loaded, report, c.SaveLocked()
}

// beginLoading notes that no kernel is known to be loaded until another is.
func (c *Coordinator) beginLoading(ctx context.Context, r Request) (loading.Request, error) {
	unlock, err := c.Lock(ctx)
	if err != nil {
		return loading.Request{}, err
	}
	defer unlock()
	if err := c.freeLocked("load a kernel"); err != nil {
		return loading.Request{}, err
	}
	was := c.Rec.Loaded
	c.Rec.Loaded = nil
	if err := c.SaveLocked(); err != nil {
		c.Rec.Loaded = was
		return loading.Request{}, err
	}
	// Until the kernel has another, that one is what is loaded.
	c.previous, c.loading = was, true
	return r.ask(loading.Load, c.Rec.Generation+1), nil
}

// preflight checks everything once more before anything is stopped. Unless the kernel's
// count of loads and the files prove that what is loaded is still what was checked, it
// is loaded again, whatever others have loaded meanwhile.
//
// Killed while it is loaded again: the record has the count of before, which the kernel
// no longer says, so that the next update loads it once more.
func (c *Coordinator) preflight(u *update) error {
	var request loading.Request
	if err := c.inside(u, func() error { request = c.againLocked(loading.Load, u.options.Override); return nil }); err != nil {
		return err
	}
	// It is brief, and one that is killed leaves nobody knowing what is loaded: a
	// cancellation waits for it.
	answer, err := c.ask(context.WithoutCancel(u.ctx), request)
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

// stillLoadedLocked refuses to jump if somebody else has loaded a kernel since the
// preflight: the next one would know nothing of the sessions.
func (c *Coordinator) stillLoadedLocked() error {
	if c.Rec.Loaded == nil || c.Rec.Loaded.Proof == nil {
		return nil
	}
	left, err := c.Loader.Left()
	if err != nil {
		return &fault.Fault{Name: errorname.LoadFailed, Err: err}
	}
	if want := c.Rec.Loaded.Proof.Left; left != want {
		c.Rec.Loaded = nil
		return fault.New(errorname.ForeignKernel, "commit the live update: somebody else has loaded or unloaded a kernel since it was checked (the kernel lets %d more be loaded, and would let %d); load it again with 'luoctl load', and find out who did it", left, want)
	}
	return nil
}
