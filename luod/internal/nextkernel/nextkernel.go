package nextkernel

import (
	"context"
	"errors"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/internal/loading"
	"github.com/liveupdate/luod/kexec/verdict"
	"github.com/liveupdate/luod/luod/internal/fault"
	"github.com/liveupdate/luod/luod/internal/record"
	"github.com/liveupdate/luod/luod/internal/state"
)

// Loader checks and loads the kernel that is to be booted. Ask may take long.
type Loader interface {
	Ask(ctx context.Context, r loading.Request) (loading.Answer, error)
	Unload() error
	Loaded() (bool, error)
	// Left is how many more kernels may be loaded: it is less for each that was.
	Left() (int, error)
}

// Kernels loads and unloads.
type Kernels struct {
	state  *state.State
	loader Loader
	// steady refuses what would change the cargo while it is packed or on its way.
	steady func(what string) error
	// loading says that a kernel is being loaded in place of previous.
	loading  bool
	previous *record.Loaded
}

// New returns Kernels that note in s what is loaded. steady is called with Lock, and its
// error is that of a request that comes at the wrong time.
func New(s *state.State, loader Loader, steady func(what string) error) *Kernels {
	return &Kernels{state: s, loader: loader, steady: steady}
}

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

// Ask is r as luod-kexec is asked.
func (r Request) Ask(verb loading.Verb, generation uint64) loading.Request {
	return loading.Request{
		Verb: verb, Entry: r.Entry, Initrds: r.Initrds, CommandLine: r.CommandLine,
		Override: r.Override, Generation: generation,
	}
}

// Entries lists what there is to boot.
func (k *Kernels) Entries(ctx context.Context) ([]loading.Entry, error) {
	answer, err := k.Ask(ctx, loading.Request{Verb: loading.Entries})
	return answer.Entries, err
}

// AgainLocked asks for what is loaded once more, as it is.
func (k *Kernels) AgainLocked(verb loading.Verb, override []string) loading.Request {
	l := k.state.Rec.Loaded
	return loading.Request{
		Verb: verb, Generation: l.Generation, Override: append(override, l.Overridden...),
		Again: &loading.Again{Target: l.Target, Digest: l.Digest, Known: l.Known, Proof: l.Proof},
	}
}

// FreeLocked refuses what needs the kernel for itself while it is loaded, or an update
// under way.
func (k *Kernels) FreeLocked(what string) error {
	if k.loading {
		return fault.New(errorname.Busy, "%s: a kernel is being loaded; try again when it is", what)
	}
	if k.state.Rec.Phase.Underway() {
		return fault.New(errorname.Busy, "%s: a live update is under way (%s); try again when it is over", what, k.state.Rec.Phase)
	}
	return k.steady(what)
}

// Ask makes a fault of an answer that says no; the answer is returned as well.
func (k *Kernels) Ask(ctx context.Context, r loading.Request) (loading.Answer, error) {
	answer, err := k.loader.Ask(ctx, r)
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
func (k *Kernels) Load(ctx context.Context, r Request) (record.Loaded, verdict.Report, error) {
	request, err := k.beginLoading(ctx, r)
	if err != nil {
		return record.Loaded{}, verdict.Report{}, err
	}
	answer, askError := k.Ask(ctx, request)
	var report verdict.Report
	if answer.Report != nil {
		report = *answer.Report
	}
	unlock, err := k.state.Lock(context.WithoutCancel(ctx))
	if err != nil {
		return record.Loaded{}, report, err
	}
	defer unlock()
	k.loading = false
	if askError != nil {
		// A refusal has changed nothing; after anything else nobody knows.
		if answer.Kind == loading.CheckFailed || answer.Kind == loading.NoEntry || answer.Kind == loading.BadRequest {
			k.state.Rec.Loaded = k.previous
		}
		_ = k.state.SaveLocked()
		return record.Loaded{}, report, askError
	}
	k.state.Rec.Loaded = &record.Loaded{
		Target: report.Target, Release: report.Release, Digest: report.Digest,
		Generation: request.Generation, Overridden: r.Override, Known: report.Results, Proof: answer.Proof,
	}
	k.state.Log.Info("loaded a kernel", "kernel", report.Target.Kernel, "release", report.Release, "initrds", report.Target.Initrds, "commandLine", report.Target.CommandLine)
	return *k.state.Rec.Loaded, report, k.state.SaveLocked()
}

// beginLoading notes that no kernel is known to be loaded until another is.
func (k *Kernels) beginLoading(ctx context.Context, r Request) (loading.Request, error) {
	unlock, err := k.state.Lock(ctx)
	if err != nil {
		return loading.Request{}, err
	}
	defer unlock()
	if err := k.FreeLocked("load a kernel"); err != nil {
		return loading.Request{}, err
	}
	was := k.state.Rec.Loaded
	k.state.Rec.Loaded = nil
	if err := k.state.SaveLocked(); err != nil {
		k.state.Rec.Loaded = was
		return loading.Request{}, err
	}
	// Until the kernel has another, that one is what is loaded.
	k.previous, k.loading = was, true
	return r.Ask(loading.Load, k.state.Rec.Generation+1), nil
}

// StillLoadedLocked refuses to jump if somebody else has loaded a kernel since the
// preflight: the next one would know nothing of the sessions.
func (k *Kernels) StillLoadedLocked() error {
	if k.state.Rec.Loaded == nil || k.state.Rec.Loaded.Proof == nil {
		return nil
	}
	left, err := k.loader.Left()
	if err != nil {
		return &fault.Fault{Name: errorname.LoadFailed, Err: err}
	}
	if want := k.state.Rec.Loaded.Proof.Left; left != want {
		k.state.Rec.Loaded = nil
		return fault.New(errorname.ForeignKernel, "commit the live update: somebody else has loaded or unloaded a kernel since it was checked (the kernel lets %d more be loaded, and would let %d); load it again with 'luoctl load', and find out who did it", left, want)
	}
	return nil
}

// Unload unloads whatever kernel is loaded.
func (k *Kernels) Unload(ctx context.Context) error {
	unlock, err := k.state.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := k.FreeLocked("unload the kernel"); err != nil {
		return err
	}
	if err := k.loader.Unload(); err != nil {
		return &fault.Fault{Name: errorname.LoadFailed, Err: err}
	}
	k.state.Rec.Loaded = nil
	return k.state.SaveLocked()
}

// UnloadOwn unloads the kernel that luod has loaded, and returns its release, or an
// empty one if there is none. One that somebody else has loaded since stays.
func (k *Kernels) UnloadOwn(ctx context.Context) (string, error) {
	unlock, err := k.state.Lock(ctx)
	if err != nil {
		return "", err
	}
	defer unlock()
	if err := k.FreeLocked("unload the kernel"); err != nil {
		return "", err
	}
	var foreign *fault.Fault
	switch err := k.StillLoadedLocked(); {
	case errors.As(err, &foreign) && foreign.Name == errorname.ForeignKernel:
		return "", k.state.SaveLocked() // it has struck ours from the record
	case err != nil:
		return "", err
	case k.state.Rec.Loaded == nil:
		return "", nil
	}
	release := k.state.Rec.Loaded.Release
	if err := k.loader.Unload(); err != nil {
		return "", &fault.Fault{Name: errorname.LoadFailed, Err: err}
	}
	k.state.Rec.Loaded = nil
	return release, k.state.SaveLocked()
}
