package busbackend

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/buslink"
	"github.com/liveupdate/luod/luod/internal/coordinator"
	"github.com/liveupdate/luod/luod/internal/record"
)

// Status is a status as the bus shows it.
func Status(s coordinator.Status) buslink.Status {
	var loaded record.Loaded
	if s.Loaded != nil {
		loaded = *s.Loaded
	}
	told := buslink.Status{
		Phase: string(s.Phase), Generation: s.Generation, Kernel: s.Kernel,
		Unsupported: s.Unsupported, Degraded: s.Degraded, Warning: s.Warning,
		LoadedKernel: loaded.Target.Kernel, LoadedInitrds: append([]string{}, loaded.Target.Initrds...),
		LoadedCommandLine: loaded.Target.CommandLine, LoadedRelease: loaded.Release,
		Units: s.Units, FileDescriptors: s.FileDescriptors, Bytes: s.Bytes,
		Waiting: append([]string{}, s.Waiting...), OldKernel: s.OldKernel, LastError: s.LastError,
		Lost: []buslink.Loss{}, TimeLine: []buslink.Mark{}, Services: []buslink.Service{}, LeftBehind: []buslink.LeftBehind{},
	}
	for _, m := range s.TimeLine {
		told.TimeLine = append(told.TimeLine, buslink.Mark{Name: m.Name, Usec: uint64(m.Usec)})
	}
	for _, l := range s.Lost {
		told.Lost = append(told.Lost, buslink.Loss{Unit: l.Unit, Name: l.Name, Reason: l.Reason})
	}
	if !s.Scheduled.IsZero() {
		told.Scheduled = uint64(s.Scheduled.UnixMicro())
	}
	for _, v := range s.Services {
		told.Services = append(told.Services, buslink.Service{Unit: v.Unit, State: string(v.State), Reason: v.Reason, Deadline: monotonic(v.Deadline)})
	}
	for _, l := range s.LeftBehind {
		told.LeftBehind = append(told.LeftBehind, buslink.LeftBehind{Unit: l.Unit, Reason: l.Reason})
	}
	return told
}

// monotonic is t in µs of CLOCK_MONOTONIC, 0 if t is no time: a deadline must not
// move with the wall clock.
func monotonic(t time.Time) uint64 {
	var now unix.Timespec
	if t.IsZero() || unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) != nil {
		return 0
	}
	return uint64(max(0, time.Duration(now.Nano())+time.Until(t)).Microseconds())
}
