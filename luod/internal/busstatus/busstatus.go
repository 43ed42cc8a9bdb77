// Package busstatus is luod's status as the bus shows it: the properties of the manager's
// object, in the types that luod(8) promises.
package busstatus

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/luod/internal/coordinator"
	"github.com/liveupdate/luod/luod/internal/record"
)

// mark is a moment of the time line on the bus: (st), in µs of CLOCK_REALTIME.
type mark struct {
	Name string
	Usec uint64
}

// loss is a lost file descriptor on the bus: (sss).
type loss struct{ Unit, Name, Reason string }

// service is one that is being prepared on the bus: (ssst), with its deadline in
// µs of CLOCK_MONOTONIC or 0.
type service struct {
	Unit, State, Reason string
	Deadline            uint64
}

// leftBehind is a service that the last update went on without: (ss).
type leftBehind struct{ Unit, Reason string }

// Properties is a status as the bus shows it.
func Properties(s coordinator.Status) map[string]any {
	timeLine := []mark{}
	for _, m := range s.TimeLine {
		timeLine = append(timeLine, mark{m.Name, uint64(m.Usec)})
	}
	lost := []loss{}
	for _, l := range s.Lost {
		lost = append(lost, loss{l.Unit, l.Name, l.Reason})
	}
	scheduled := uint64(0)
	if !s.Scheduled.IsZero() {
		scheduled = uint64(s.Scheduled.UnixMicro())
	}
	services := []service{}
	for _, v := range s.Services {
		services = append(services, service{v.Unit, string(v.State), v.Reason, Monotonic(v.Deadline)})
	}
	without := []leftBehind{}
	for _, l := range s.LeftBehind {
		without = append(without, leftBehind(l))
	}
	var loaded record.Loaded
	if s.Loaded != nil {
		loaded = *s.Loaded
	}
	return map[string]any{
		"Phase": string(s.Phase), "Generation": s.Generation, "Kernel": s.Kernel,
		"Unsupported": s.Unsupported, "Degraded": s.Degraded, "Warning": s.Warning,
		"LoadedKernel": loaded.Target.Kernel, "LoadedInitrds": append([]string{}, loaded.Target.Initrds...),
		"LoadedCommandLine": loaded.Target.CommandLine, "LoadedRelease": loaded.Release,
		"Units": s.Units, "FileDescriptors": s.FileDescriptors, "Bytes": s.Bytes,
		"Waiting": s.Waiting, "OldKernel": s.OldKernel, "Lost": lost,
		"TimeLine": timeLine, "LastError": s.LastError,
		"Scheduled": scheduled, "Services": services, "LeftBehind": without,
	}
}

// Monotonic is t in µs of CLOCK_MONOTONIC, 0 if t is no time: a deadline must not
// move with the wall clock.
func Monotonic(t time.Time) uint64 {
	var now unix.Timespec
	if t.IsZero() || unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) != nil {
		return 0
	}
	return uint64(max(0, time.Duration(now.Nano())+time.Until(t)).Microseconds())
}
