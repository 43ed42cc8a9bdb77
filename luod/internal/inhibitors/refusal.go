package inhibitors

import (
	"fmt"

	"github.com/liveupdate/luod/client/errorname"
)

// The reasons of a Refusal.
const (
	BadRequest        = errorname.BadRequest
	TooManyInhibitors = errorname.TooManyInhibitors
)

// Refusal is an error that changed nothing. Reason is the last part of the D-Bus
// error name org.luod.LiveUpdate1.Error.REASON.
type Refusal struct {
	Reason string
	Text   string
}

func (r *Refusal) Error() string { return r.Text }

func refuse(reason, format string, args ...any) *Refusal {
	return &Refusal{Reason: reason, Text: fmt.Sprintf(format, args...)}
}
