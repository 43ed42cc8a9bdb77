package preflight

import "github.com/liveupdate/luod/kexec/verdict"

// What a run returns is of package verdict.
type (
	Verdict = verdict.Verdict
	Result  = verdict.Result
	Report  = verdict.Report
)

// The verdicts.
const (
	OK   = verdict.OK
	Warn = verdict.Warn
	Fail = verdict.Fail
)
