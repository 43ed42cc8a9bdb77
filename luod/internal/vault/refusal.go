package vault

import (
	"fmt"

	"github.com/liveupdate/luod/client/errorname"
)

// Reason is why something can't be handed over or given out. Its text is the
// last part of the D-Bus error name org.luod.LiveUpdate1.Error.REASON.
type Reason string

// The reasons.
const (
	InvalidName     Reason = errorname.InvalidName
	NameInUse       Reason = errorname.NameInUse
	FileInUse       Reason = errorname.FileInUse
	UnsupportedFile Reason = errorname.UnsupportedFile
	TooMany         Reason = errorname.TooMany
	NoSuchName      Reason = errorname.NoSuchName
	BadCount        Reason = errorname.BadCount
)

// Refusal is an error that changed nothing.
type Refusal struct {
	Reason Reason
	Text   string
}

func (r *Refusal) Error() string { return r.Text }

func refuse(reason Reason, format string, args ...any) *Refusal {
	return &Refusal{Reason: reason, Text: fmt.Sprintf(format, args...)}
}
