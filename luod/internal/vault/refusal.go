package vault

import "fmt"

// Reason is why something can't be handed over or given out. Its text is the
// last part of the D-Bus error name org.luod.LiveUpdate1.Error.REASON.
type Reason string

// The reasons.
const (
	InvalidName     Reason = "InvalidName"
	NameInUse       Reason = "NameInUse"
	FileInUse       Reason = "FileInUse"
	UnsupportedFile Reason = "UnsupportedFile"
	TooMany         Reason = "TooMany"
	NoSuchName      Reason = "NoSuchName"
	BadCount        Reason = "BadCount"
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
