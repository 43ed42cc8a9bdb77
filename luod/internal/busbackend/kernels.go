package busbackend

import (
	"context"
	"math"
	"os"
	"time"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/internal/buslink"
	"github.com/liveupdate/luod/kexec/verdict"
	"github.com/liveupdate/luod/luod/internal/fault"
	"github.com/liveupdate/luod/luod/internal/nextkernel"
	"github.com/liveupdate/luod/luod/internal/record"
)

func (r *request) listEntries() (any, []*os.File, error) {
	ctx, cancel := context.WithTimeout(r.life, long)
	defer cancel()
	entries, err := r.Registry.Entries(ctx)
	list := []buslink.Entry{}
	for _, e := range entries {
		list = append(list, buslink.Entry{
			ID: e.ID, Kind: e.Kind, Title: e.Title, Version: e.Version, Source: e.Source, Kernel: e.Kernel,
			Initrds: e.Initrds, CommandLine: e.CommandLine, Default: e.Default, Error: e.Error,
		})
	}
	return list, nil, err
}

// kernel has one checked, or checked and loaded.
func (r *request) kernel() (any, []*os.File, error) {
	ctx, cancel := context.WithTimeout(r.life, long)
	defer cancel()
	var k buslink.Kernel
	if err := r.decode(&k); err != nil {
		return nil, nil, err
	}
	if err := overridable(k.Override); err != nil {
		return nil, nil, err
	}
	request := nextkernel.Request{Entry: k.Entry, Initrds: k.Initrds, CommandLine: k.CommandLine, Override: k.Override}
	var report verdict.Report
	var err error
	if r.method == "Load" {
		_, report, err = r.Registry.Load(ctx, request)
	} else {
		report, err = r.Registry.Check(ctx, request)
	}
	return checked(report), nil, err
}

func overridable(names []string) error {
	if err := verdict.ValidNames(names); err != nil {
		return fault.New(errorname.BadRequest, "override a check: %w", err)
	}
	return nil
}

func checked(report verdict.Report) buslink.Checked {
	c := buslink.Checked{Results: []buslink.Result{}, Target: buslink.Target{
		Kernel: report.Target.Kernel, Initrds: report.Target.Initrds, CommandLine: report.Target.CommandLine,
		Profile: uint32(report.Target.Profile), Release: report.Release, Digest: report.Digest,
	}}
	for _, one := range report.Results {
		c.Results = append(c.Results, buslink.Result{Name: one.Name, Verdict: string(one.Verdict), Reason: one.Reason, Remedy: one.Remedy})
	}
	return c
}

// liveUpdate performs the update and returns when the shutdown has begun.
func (r *request) liveUpdate() (any, []*os.File, error) {
	var u buslink.Update
	err := r.decode(&u)
	if err == nil {
		err = r.authorize(u.Actions()...)
	}
	if err == nil {
		err = overridable(u.Override)
	}
	switch {
	case err != nil:
		return nil, nil, err
	case u.When > math.MaxInt64:
		return nil, nil, fault.New(errorname.BadRequest, "the time %d is none", u.When)
	case len(u.Message) > buslink.MaxReason:
		return nil, nil, fault.New(errorname.BadRequest, "the message has %d bytes, and at most %d are taken", len(u.Message), buslink.MaxReason)
	}
	o := record.Options{
		Verify: u.Verify, DryRun: u.DryRun, NoBlock: u.NoBlock, Fast: u.Fast, Message: u.Message, NoWall: u.NoWall,
		IgnoreInhibitors: u.IgnoreInhibitors, Override: u.Override,
	}
	if u.When > 0 {
		o.When = time.UnixMicro(int64(u.When))
	}
	generation, err := r.Registry.LiveUpdate(r.life, o)
	return buslink.Generation{Generation: generation}, nil, err
}
