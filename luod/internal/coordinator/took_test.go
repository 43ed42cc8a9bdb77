package coordinator

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/liveupdate/luod/luod/internal/burst"
)

// One line for the first call and one for all that follow in a moment, and nothing
// is left out of the sum.
func TestManyCallsInARowAreTwoLinesInTheLog(t *testing.T) {
	w := newWorld(t)
	var log bytes.Buffer
	w.c.State.Log = slog.New(slog.NewTextHandler(&log, nil))
	for range 5 {
		_, _ = locked(ctx, w.c, func() (any, error) { w.c.Bursts.TookLocked("a.service", 16); return nil, nil })
	}
	_, _ = locked(ctx, w.c, func() (any, error) { w.c.Bursts.TookLocked("b.service", 3); return nil, nil })
	w.clock.advance(2 * burst.Interval)
	w.status() // after what the clock began
	for _, want := range []string{"over\" unit=a.service count=16\n", "took more file descriptors over\" unit=a.service count=64\n", "over\" unit=b.service count=3\n"} {
		if strings.Count(log.String(), want) != 1 {
			t.Errorf("%q is not in the log once:\n%s", want, log.String())
		}
	}
	if n := strings.Count(log.String(), "\n"); n != 3 {
		t.Errorf("%d lines:\n%s", n, log.String())
	}
	_, _ = locked(ctx, w.c, func() (any, error) { w.c.Bursts.TookLocked("a.service", 1); return nil, nil })
	if !strings.Contains(log.String(), "took file descriptors over\" unit=a.service count=1\n") {
		t.Errorf("a later call is not in the log:\n%s", log.String())
	}
}
