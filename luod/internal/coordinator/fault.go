package coordinator

import "fmt"

// Fault is an error that a caller can tell apart. Name is the last part of the
// D-Bus error name org.luod.LiveUpdate1.Error.NAME.
type Fault struct {
	Name string
	Err  error
}

func (f *Fault) Error() string { return f.Err.Error() }
func (f *Fault) Unwrap() error { return f.Err }

func fault(name, format string, args ...any) *Fault {
	return &Fault{Name: name, Err: fmt.Errorf(format, args...)}
}
