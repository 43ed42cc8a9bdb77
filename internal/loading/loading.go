package loading

import (
	"fmt"
	"strings"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/kexec"
	"github.com/liveupdate/luod/kexec/verdict"
)

// Verb is what is asked for.
type Verb string

const (
	// Entries lists what there is to boot.
	Entries Verb = "entries"
	// Check runs the preflight checks, and Load loads the target too if they
	// let it.
	Check Verb = "check"
	Load  Verb = "load"
)

// Request is one question.
type Request struct {
	Verb Verb `json:"verb"`
	// Entry is a boot entry's ID, or the path of a kernel, or "" for the default
	// entry.
	Entry string `json:"entry"`
	// Initrds take the place of the entry's, if there are any.
	Initrds []string `json:"initrds,omitempty"`
	// CommandLine takes the place of the entry's, if it isn't empty.
	CommandLine string `json:"commandLine,omitempty"`
	// Generation goes onto the command line.
	Generation uint64 `json:"generation"`
	// Override are the names of checks that may fail.
	Override []string `json:"override,omitempty"`
	// Again is what was loaded before and shall be checked or loaded once more,
	// as it was; then Entry and what replaces its parts are not looked at.
	Again *Again `json:"again,omitempty"`
}

// Again names a target, its digest, and what was found out in this boot about what
// has that digest.
type Again struct {
	Target kexec.Target     `json:"target"`
	Digest string           `json:"digest"`
	Known  []verdict.Result `json:"known,omitempty"`
	// Proof is the answer's of that time.
	Proof *Proof `json:"proof,omitempty"`
}

// Proof tells later whether what is loaded is still what was loaded then.
type Proof struct {
	// Left is how many more times the kernel lets a kernel be loaded
	// ([kexec.LoadsLeft]).
	Left int `json:"left"`
	// Stamp is that of the files ([github.com/liveupdate/luod/kexec/source.Source.Stamp]).
	Stamp string `json:"stamp"`
}

// Entry is something to boot.
type Entry struct {
	ID          string   `json:"id"`
	Kind        string   `json:"kind"`
	Title       string   `json:"title"`
	Version     string   `json:"version"`
	Source      string   `json:"source"`
	Kernel      string   `json:"kernel"`
	Initrds     []string `json:"initrds"`
	CommandLine string   `json:"commandLine"`
	Default     bool     `json:"default"`
	// Error says why it can't be used; then only Source is set beside it.
	Error string `json:"error,omitempty"`
}

// Answer is what came out.
type Answer struct {
	Entries []Entry         `json:"entries,omitempty"`
	Report  *verdict.Report `json:"report,omitempty"`
	// Proof belongs to what is loaded now; nil if there is none. Kept says that it was
	// left as it was, because of the proof in the request.
	Proof *Proof `json:"proof,omitempty"`
	Kept  bool   `json:"kept,omitempty"`
	// Error says why nothing was loaded, and Kind what sort of error it is.
	Error string `json:"error,omitempty"`
	Kind  Kind   `json:"kind,omitempty"`
}

// Words are luod's on the next kernel's command line: the generation that it will be, and
// the target that starts luod, and what luod has for early services, before anything else.
var Words = kexec.Words{Number: "luod.generation", Target: "luod-restore.target"}

// Kind is the last part of a D-Bus error name, org.luod.LiveUpdate1.Error.KIND.
type Kind string

const (
	NoEntry     Kind = errorname.NoEntry
	BadRequest  Kind = errorname.BadRequest
	CheckFailed Kind = errorname.CheckFailed
	LoadFailed  Kind = errorname.LoadFailed
)

// Explain makes one text of failed checks.
func Explain(target kexec.Target, failed []verdict.Result) string {
	var text strings.Builder
	fmt.Fprintf(&text, "%s can't take this machine's memory over", target.Kernel)
	for i, r := range failed {
		sep := "; "
		if i == 0 {
			sep = ": "
		}
		fmt.Fprintf(&text, "%s%s: %s", sep, r.Name, r.Reason)
		if r.Remedy != "" {
			fmt.Fprintf(&text, " (%s)", r.Remedy)
		}
	}
	return text.String()
}
