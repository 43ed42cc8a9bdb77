package preflight

import (
	"slices"
	"sync"

	"github.com/liveupdate/luod/kexec"
	"github.com/liveupdate/luod/kexec/image"
	"github.com/liveupdate/luod/kexec/initrd"
	"github.com/liveupdate/luod/kexec/source"
)

// Options of a run.
type Options struct {
	// Digest is what an earlier report said of the same target; empty if there
	// was none.
	Digest string
	// Stamp is what the sources said of themselves then ([github.com/liveupdate/luod/kexec/source.Source.Stamp]), if
	// files that say the same need not be read again: where it is known that what is
	// loaded was made of those with the digest.
	Stamp string
	// Known are that report's results, if it was made in this boot. Those that the
	// digest vouches for are not found out anew: unpacking a kernel takes longest.
	Known []Result
}

// checks are all checks, in the order of a report. What is lasting depends on the
// files that have the digest, and on nothing else that changes in one boot; of others
// the result tells.
var checks = []struct {
	name    string
	lasting bool
	run     func(*job) Result
}{
	{"live-update-enabled", false, (*job).liveUpdateEnabled},
	{"kexec-allowed", false, (*job).kexecAllowed},
	{"kernel-image", true, (*job).kernelImage},
	{"kernel-config", true, (*job).kernelConfig},
	{"handover-format", true, (*job).handoverFormat},
	{"command-line", false, (*job).commandLine},
	{"initrd", true, (*job).initrd},
	{"modules", false, (*job).modules},
	{"signature", false, (*job).signature},
	{"memory", false, (*job).memory},
	{"root-device", false, (*job).rootDevice},
	{"luod-after-jump", false, (*job).afterJump},
	{"unchanged", false, (*job).unchanged},
}

// Run runs all checks in parallel. The report says everything; what can't be read
// is in it as well. The files that were looked at are returned open, so that they
// can be loaded as they are; the caller closes them. They are nil if the target
// can't be opened.
func Run(system System, target kexec.Target, options Options) (Report, *source.Source) {
	j := &job{System: system, target: target, options: options}
	j.sources, j.openError = source.Open(target)
	j.running = sync.OnceValues(j.readRunning)
	j.runningConfig = sync.OnceValue(j.readRunningConfig)
	j.facts = sync.OnceValues(func() (image.Facts, error) { return j.sources.Image.Facts() })
	j.digest = sync.OnceValues(j.makeDigest)
	j.contents = sync.OnceValues(j.readInitrds)
	report := Report{Target: target, Results: make([]Result, len(checks))}
	var wait sync.WaitGroup
	for i, c := range checks {
		wait.Go(func() {
			if known := j.known(c.name, c.lasting); known >= 0 {
				report.Results[i] = j.options.Known[known]
				return
			}
			report.Results[i] = c.run(j)
			report.Results[i].Name = c.name
		})
	}
	wait.Wait()
	if j.sources != nil {
		report.Release = j.release()
		report.Digest, _ = j.digest()
	}
	return report, j.sources
}

// job is one run. What several checks need is read once, by the first of them.
type job struct {
	System
	target    kexec.Target
	options   Options
	sources   *source.Source
	openError error
	facts     func() (image.Facts, error)
	running   func() (image.Facts, error)
	digest    func() (string, error)
	contents  func() (initrd.Contents, error)
	// runningConfig is the running kernel's configuration, or nil if nobody tells.
	runningConfig func() image.Config
}

// known is the index of an earlier result of the same files, or -1. A warning is
// looked into again: what was missing then may be there now.
func (j *job) known(name string, lasting bool) int {
	at := slices.IndexFunc(j.options.Known, func(r Result) bool { return r.Name == name && r.Verdict == OK && (lasting || r.Lasting) })
	if at < 0 || j.sources == nil || j.options.Digest == "" {
		return -1
	}
	if digest, err := j.digest(); err != nil || digest != j.options.Digest {
		return -1
	}
	return at
}

func (j *job) makeDigest() (string, error) {
	if j.options.Stamp != "" && j.options.Digest != "" {
		if stamp, err := j.sources.Stamp(); err == nil && stamp == j.options.Stamp {
			return j.options.Digest, nil
		}
	}
	return j.sources.Digest()
}

// loaded says that what was checked is loaded, and needs not be loaded again.
func (j *job) loaded() bool {
	if j.options.Stamp == "" || j.sources == nil {
		return false
	}
	digest, err := j.digest()
	return err == nil && digest == j.options.Digest
}

// unread is the verdict of what depends on an image that can't be read.
func (j *job) unread() Result {
	return Result{Verdict: Warn, Reason: "unknown, since the kernel image could not be read", Remedy: "see kernel-image"}
}

// release is the target's, or "".
func (j *job) release() string {
	if j.sources.Image.Version != "" {
		return j.sources.Image.Version
	}
	facts, err := j.facts()
	if err != nil {
		return ""
	}
	return facts.Release
}
