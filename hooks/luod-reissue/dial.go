package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/coreos/go-systemd/v22/dbus"

	"github.com/liveupdate/luod/internal/helperprotocol"
)

// luodUnit is luod's own.
const luodUnit = "luod.service"

// dial waits for luod, which may be restarting. A unit that does without doesn't wait
// for one that nobody starts.
func dial(ctx context.Context, optional bool) (*helperprotocol.Conversation, error) {
	if optional {
		c, err := helperprotocol.Try(ctx)
		if err == nil {
			return c, nil
		}
		if state, ok := luodState(ctx); ok && !state.coming() {
			return nil, fmt.Errorf("%s does not run and is not about to: %w", luodUnit, err)
		}
	}
	return helperprotocol.Dial(ctx)
}

// state is what PID 1 says of luod.service.
type state struct {
	active string
	job    bool
}

// coming says that it is worth waiting for.
func (s state) coming() bool {
	return s.job || !slices.Contains([]string{"inactive", "failed"}, s.active)
}

// luodState is false if PID 1 doesn't say.
func luodState(ctx context.Context) (state, bool) {
	conn, err := dbus.NewSystemdConnectionContext(ctx)
	if err != nil {
		return state{}, false
	}
	defer conn.Close()
	properties, err := conn.GetUnitPropertiesContext(ctx, luodUnit)
	if err != nil {
		return state{}, false
	}
	return stateOf(properties)
}

// stateOf reads a unit's properties (org.freedesktop.systemd1(5)).
func stateOf(properties map[string]any) (state, bool) {
	active, isState := properties["ActiveState"].(string)
	job, isJob := properties["Job"].([]any) // (uo), with 0 for none
	if !isState || !isJob || len(job) == 0 {
		return state{}, false
	}
	id, is := job[0].(uint32)
	return state{active: active, job: id != 0}, is
}
