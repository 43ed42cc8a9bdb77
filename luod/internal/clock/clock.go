// Package clock is how time passes for luod: as it does, or as a test says.
package clock

import "time"

// Clock is how time passes.
type Clock interface {
	// Now has a monotonic reading beside the wall clock's (package time).
	Now() time.Time
	// AfterFunc calls f in its own goroutine after d; stop prevents that if it
	// isn't too late.
	AfterFunc(d time.Duration, f func()) (stop func() bool)
}

// System is the real one.
type System struct{}

// Now returns the present time.
func (System) Now() time.Time { return time.Now() }

// AfterFunc calls f after d.
func (System) AfterFunc(d time.Duration, f func()) func() bool { return time.AfterFunc(d, f).Stop }
