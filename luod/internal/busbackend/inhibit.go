package busbackend

import (
	"context"
	"os"

	"github.com/liveupdate/luod/internal/buslink"
	"github.com/liveupdate/luod/internal/printable"
	"github.com/liveupdate/luod/luod/internal/inhibitors"
)

// Inhibitors lists all inhibitors there are: luod's own, and logind's against a shutdown.
func (s *Server) Inhibitors(ctx context.Context) ([]inhibitors.Inhibitor, error) {
	list := s.Locks.List()
	others, err := s.Logind(ctx)
	return append(list, others...), err
}

// inhibit takes a lock against live updates, or to be told of them first, and returns the
// descriptor that keeps it.
func (r *request) inhibit() (any, []*os.File, error) {
	var given buslink.Inhibitor
	if err := r.decode(&given); err != nil {
		return nil, nil, err
	}
	if err := r.authorize(given.Action()); err != nil {
		return nil, nil, err
	}
	i := inhibitors.Inhibitor{
		What: given.What, Who: printable.Line(given.Who), Why: printable.Line(given.Why), Mode: inhibitors.Mode(given.Mode),
		UID: r.from.UID, PID: r.from.PID,
	}
	if r.pidfd >= 0 {
		i.Unit, _ = r.Unit(r.pidfd) // a user's session may inhibit as well
	}
	f, err := r.Locks.Add(i)
	if err != nil {
		return nil, nil, err
	}
	r.Log.Info("live updates are inhibited", "who", i.Who, "why", i.Why, "mode", given.Mode, "uid", i.UID, "pid", i.PID)
	return nil, []*os.File{f}, nil
}

// listInhibitors lists them to anybody, as logind does.
func (r *request) listInhibitors(ctx context.Context) (any, []*os.File, error) {
	all, err := r.Inhibitors(ctx)
	list := []buslink.Inhibitor{}
	for _, i := range all {
		list = append(list, buslink.Inhibitor{What: i.What, Who: i.Who, Why: i.Why, Mode: string(i.Mode), UID: i.UID, PID: i.PID})
	}
	return list, nil, err
}
