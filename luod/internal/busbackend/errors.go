package busbackend

import (
	"errors"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/internal/buslink"
	"github.com/liveupdate/luod/internal/printable"
	"github.com/liveupdate/luod/luod/internal/callers"
	"github.com/liveupdate/luod/luod/internal/fault"
	"github.com/liveupdate/luod/luod/internal/inhibitors"
	"github.com/liveupdate/luod/luod/internal/quota"
	"github.com/liveupdate/luod/luod/internal/vault"
)

// errDenied says that the caller may not do it.
var errDenied = errors.New("permission denied")

// errUnidentified is wrapped by the error of a call of which luod can't make sure whose
// it is.
var errUnidentified = errors.New("luod can't make sure which process calls: this bus only has the PID that it had when it connected (dbus before 1.15.8, dbus-broker before 35)")

// instead is what to do about it.
const instead = "use luod-reissue(8), which needs no bus, or a newer bus"

func badRequest(err error) error {
	return fault.New(errorname.BadRequest, "the request can't be understood: %v", err)
}

func tooManyAtOnce(n int) error {
	return fault.New(errorname.TooMany, "it is %d file descriptors, and a message takes at most %d: name as many at a time (ListNames)", n, buslink.MaxDescriptors)
}

// named is an error as the bus has it.
func named(err error) *buslink.Error {
	var told *buslink.Error
	if errors.As(err, &told) {
		return told
	}
	name := errorname.Failed
	var refusal *vault.Refusal
	var failed *fault.Fault
	var noLock *inhibitors.Refusal
	var exceeded *quota.Exceeded
	switch {
	case errors.As(err, &exceeded):
		name = errorname.Prefix + errorname.TooManyCalls
	case errors.As(err, &noLock):
		name = errorname.Prefix + noLock.Reason
	case errors.As(err, &refusal):
		name = errorname.Prefix + string(refusal.Reason)
	case errors.As(err, &failed):
		name = errorname.Prefix + failed.Name
	case errors.Is(err, callers.ErrNoUnit):
		name = errorname.Prefix + errorname.NoUnit
	case errors.Is(err, errUnidentified):
		name = errorname.Prefix + errorname.Unidentified
	case errors.Is(err, errDenied):
		name = errorname.AccessDenied
	}
	return &buslink.Error{Name: name, Text: printable.Text(err.Error())}
}
