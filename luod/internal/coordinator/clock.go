package coordinator

import "time"

// Clock is how time passes for a coordinator.
type Clock interface {
	// Now has a monotonic reading beside the wall clock's (package time).
	Now() time.Time
	// AfterFunc calls f in its own goroutine after d; stop prevents that if it
	// isn't too late.
	AfterFunc(d time.Duration, f func()) (stop func() bool)
}

// SystemClock is the real one.
type SystemClock struct{}

// Now returns the present time.
func (SystemClock) Now() time.Time { return time.Now() }

// AfterFunc calls f after d.
func (SystemClock) AfterFunc(d time.Duration, f func()) func() bool { return time.AfterFunc(d, f).Stop }
