package busbackend

import (
	"context"
	"os"
	"time"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/internal/buslink"
	"github.com/liveupdate/luod/internal/helperprotocol"
	"github.com/liveupdate/luod/luod/internal/fault"
	"github.com/liveupdate/luod/luod/internal/holdings"
	"github.com/liveupdate/luod/luod/internal/record"
	"github.com/liveupdate/luod/luod/internal/vault"
)

const (
	// usual bounds a call. LiveUpdate has its own.
	usual = 60 * time.Second
	// long is how long a check or a load may take.
	long = 3 * usual
)

// perform does what is asked for. It returns what is to be answered, with files that are
// to be closed after that.
func (r *request) perform() (any, []*os.File, error) {
	ctx, cancel := context.WithTimeout(r.life, usual)
	defer cancel()
	if of, is := ofUnits[r.method]; is {
		unit, err := r.unit()
		if err != nil {
			return nil, nil, err
		}
		return of(r, ctx, unit)
	}
	if action, is := buslink.Action(r.method); is {
		if err := r.authorize(action); err != nil {
			return nil, nil, err
		}
	}
	switch r.method {
	case buslink.Sync: // the answer comes after all that is new
		return nil, nil, nil
	case buslink.Opened:
		return nil, nil, r.Registry.Remind(ctx)
	case buslink.Vouch:
		var b buslink.Bus
		err := r.decode(&b)
		if err == nil {
			err = r.vouch(ctx, b)
		}
		return nil, nil, err
	case "LiveUpdate":
		return r.liveUpdate()
	case "Inhibit":
		return r.inhibit()
	case "ListInhibitors":
		return r.listInhibitors(ctx)
	}
	if of, is := ofAdmins[r.method]; is {
		return of(r, ctx)
	}
	return nil, nil, fault.New(errorname.BadRequest, "luod has no method %q", r.method)
}

// ofUnits are the methods that a unit calls for itself.
var ofUnits = map[string]func(r *request, ctx context.Context, unit string) (any, []*os.File, error){
	"Preserve": (*request).preserve,
	"Release": ofNames(func(r *request, ctx context.Context, unit string, names []string) error {
		return r.Registry.Release(ctx, unit, names)
	}),
	"Fetched": ofNames(func(r *request, ctx context.Context, unit string, names []string) error {
		return r.Registry.Fetched(ctx, unit, names)
	}),
	"Retrieve": func(r *request, ctx context.Context, unit string) (any, []*os.File, error) {
		fetch, err := r.Registry.Retrieve(ctx, unit, r.names)
		return buslink.Fetched{Names: fetch.Names}, fetch.Files, err
	},
	"ListNames": func(r *request, ctx context.Context, unit string) (any, []*os.File, error) {
		held, err := r.Registry.Own(ctx, unit)
		names := []buslink.Named{}
		for _, h := range held {
			names = append(names, buslink.Named{Name: h.Name, State: h.State})
		}
		return names, nil, err
	},
	"CreateSession": ofSession(func(r *request, ctx context.Context, unit, name string) (*os.File, error) {
		return r.Registry.CreateSession(ctx, unit, name)
	}),
	"RetrieveSession": ofSession(func(r *request, ctx context.Context, unit, name string) (*os.File, error) {
		return r.Registry.RetrieveSession(ctx, unit, name)
	}),
	"ReleaseSession": ofName(func(r *request, ctx context.Context, unit, name string) error {
		return r.Registry.ReleaseSession(ctx, unit, name)
	}),
	"Fail": ofName(func(r *request, ctx context.Context, unit, reason string) error {
		return r.Registry.Fail(ctx, unit, reason)
	}),
	"Unregister": func(r *request, ctx context.Context, unit string) (any, []*os.File, error) {
		return nil, nil, r.Registry.Unregister(ctx, unit)
	},
	"Ready": func(r *request, ctx context.Context, unit string) (any, []*os.File, error) {
		return nil, nil, r.Registry.Ready(ctx, unit)
	},
	"Register": func(r *request, ctx context.Context, unit string) (any, []*os.File, error) {
		var given buslink.Registration
		if err := r.decode(&given); err != nil {
			return nil, nil, err
		}
		if given.Timeout > buslink.MaxTimeout {
			return nil, nil, fault.New(errorname.BadRequest, "the timeout of %d µs is too long", given.Timeout)
		}
		return buslink.Registered{Unit: unit}, nil, r.Registry.Register(ctx, unit, record.Registration{
			Timeout: time.Duration(given.Timeout) * time.Microsecond, Optional: given.Optional, After: given.After, Before: given.Before,
		})
	},
}

func ofNames(f func(r *request, ctx context.Context, unit string, names []string) error) func(r *request, ctx context.Context, unit string) (any, []*os.File, error) {
	return func(r *request, ctx context.Context, unit string) (any, []*os.File, error) {
		return nil, nil, f(r, ctx, unit, r.names)
	}
}

func ofName(f func(r *request, ctx context.Context, unit, name string) error) func(r *request, ctx context.Context, unit string) (any, []*os.File, error) {
	return func(r *request, ctx context.Context, unit string) (any, []*os.File, error) {
		var name buslink.Name
		err := r.decode(&name)
		if err == nil {
			err = f(r, ctx, unit, name.Name)
		}
		return nil, nil, err
	}
}

func ofSession(f func(r *request, ctx context.Context, unit, name string) (*os.File, error)) func(r *request, ctx context.Context, unit string) (any, []*os.File, error) {
	return func(r *request, ctx context.Context, unit string) (any, []*os.File, error) {
		var name buslink.Name
		if err := r.decode(&name); err != nil {
			return nil, nil, err
		}
		session, err := f(r, ctx, unit, name.Name)
		if err != nil {
			return nil, nil, err
		}
		return nil, []*os.File{session}, nil
	}
}

// preserve takes over what the caller's unit hands over.
func (r *request) preserve(ctx context.Context, unit string) (any, []*os.File, error) {
	files, err := vault.Take(r.names, r.given)
	if err != nil {
		return nil, nil, err
	}
	r.given = nil // files has them
	if err := r.Registry.Preserve(ctx, unit, r.names, files); err != nil {
		helperprotocol.Close(files)
		return nil, nil, err
	}
	return nil, nil, nil
}

// ofAdmins are those of an administrator, who has been authorized.
var ofAdmins = map[string]func(r *request, ctx context.Context) (any, []*os.File, error){
	"ListFileDescriptors": func(r *request, ctx context.Context) (any, []*os.File, error) {
		held, err := r.Registry.List(ctx)
		list := []buslink.Held{}
		for _, h := range held {
			list = append(list, buslink.Held{Unit: h.Unit, Name: h.Name, Size: h.Size, Seals: h.Seals, State: h.State})
		}
		return list, nil, err
	},
	"Discard": func(r *request, ctx context.Context) (any, []*os.File, error) {
		var d buslink.Discard
		err := r.decode(&d)
		if err == nil {
			err = r.Registry.Discard(ctx, d.Unit, d.Names)
		}
		return nil, nil, err
	},
	"DiscardAll": (*request).discardAll,
	"Cancel": func(r *request, ctx context.Context) (any, []*os.File, error) {
		var reason buslink.Name
		err := r.decode(&reason)
		if err == nil {
			err = r.Registry.Cancel(ctx, reason.Name)
		}
		return nil, nil, err
	},
	"Report": func(r *request, ctx context.Context) (any, []*os.File, error) {
		var which buslink.Report
		if err := r.decode(&which); err != nil {
			return nil, nil, err
		}
		text, err := r.Registry.Report(ctx, which.Generation)
		return buslink.Text{Text: text}, nil, err
	},
	"ListEntries": func(r *request, _ context.Context) (any, []*os.File, error) { return r.listEntries() },
	"Check":       func(r *request, _ context.Context) (any, []*os.File, error) { return r.kernel() },
	"Load":        func(r *request, _ context.Context) (any, []*os.File, error) { return r.kernel() },
	"Unload": func(r *request, ctx context.Context) (any, []*os.File, error) {
		return nil, nil, r.Registry.Unload(ctx)
	},
	"UnloadOwn": func(r *request, ctx context.Context) (any, []*os.File, error) {
		release, err := r.Registry.UnloadOwn(ctx)
		return buslink.Text{Text: release}, nil, err
	},
}

// discardAll gives up all that there is, or only says what that would be.
func (r *request) discardAll(ctx context.Context) (any, []*os.File, error) {
	var given buslink.DiscardAll
	if err := r.decode(&given); err != nil {
		return nil, nil, err
	}
	var s holdings.Stakes
	var err error
	if given.DryRun {
		s, err = r.Registry.Stakes(ctx)
	} else {
		s, err = r.Registry.DiscardAll(ctx)
	}
	told := buslink.Stakes{Units: []buslink.Stake{}, Unread: s.Unread, Stuck: s.Stuck}
	for _, u := range s.Units {
		told.Units = append(told.Units, buslink.Stake{Unit: u.Unit, Count: u.Count, Bytes: u.Bytes, Waiting: u.Waiting})
	}
	return told, nil, err
}
