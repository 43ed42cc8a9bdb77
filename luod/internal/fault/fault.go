// Package fault is luod's refusals: errors with a name that a caller can tell apart. The
// names are those of package errorname, and go out over D-Bus and luod's socket as they
// are. Nothing was changed by a request that is answered so, unless the name says else.
package fault

import "fmt"

// Fault is an error that a caller can tell apart. Name is one of package errorname.
type Fault struct {
	Name string
	Err  error
}

func (f *Fault) Error() string { return f.Err.Error() }

// Unwrap returns the error without its name.
func (f *Fault) Unwrap() error { return f.Err }

// New returns a Fault of that name with a text as of fmt.Errorf.
func New(name, format string, args ...any) *Fault {
	return &Fault{Name: name, Err: fmt.Errorf(format, args...)}
}
