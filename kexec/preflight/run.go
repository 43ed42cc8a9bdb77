package preflight

import (
	"sync"

	"github.com/liveupdate/luod/kexec"
	"github.com/liveupdate/luod/kexec/image"
	"github.com/liveupdate/luod/kexec/initrd"
)

// Options of a run.
type Options struct {
	// Digest is what an earlier report said of the same target; empty if there
	// was none.
	Digest string
}

// checks are all checks, in the order of a report.
var checks = []struct {
	name string
	run  func(*job) Result
}{
	{"live-update-enabled", (*job).liveUpdateEnabled},
	{"kexec-allowed", (*job).kexecAllowed},
	{"kernel-image", (*job).kernelImage},
	{"kernel-config", (*job).kernelConfig},
	{"handover-format", (*job).handoverFormat},
	{"command-line", (*job).commandLine},
	{"initrd", (*job).initrd},
	{"modules", (*job).modules},
	{"signature", (*job).signature},
	{"memory", (*job).memory},
	{"root-device", (*job).rootDevice},
	{"luod-after-jump", (*job).luodAfterJump},
	{"unchanged", (*job).unchanged},
}

// Run runs all checks in parallel. The report says everything; what can't be read
// is in it as well. The files that were looked at are returned open, so that they
// can be loaded as they are; the caller closes them. They are nil if the target
// can't be opened.
func Run(system System, target kexec.Target, options Options) (Report, *kexec.Sources) {
	j := &job{System: system, target: target, options: options}
	j.sources, j.openError = kexec.Open(target)
	j.running = sync.OnceValues(j.readRunning)
	j.facts = sync.OnceValues(func() (image.Facts, error) { return j.sources.Image.Facts() })
	j.digest = sync.OnceValues(func() (string, error) { return j.sources.Digest() })
	j.contents = sync.OnceValues(j.readInitrds)
	report := Report{Target: target, Results: make([]Result, len(checks))}
	var wait sync.WaitGroup
	for i, c := range checks {
		wait.Go(func() {
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
	sources   *kexec.Sources
	openError error
	facts     func() (image.Facts, error)
	running   func() (image.Facts, error)
	digest    func() (string, error)
	contents  func() (initrd.Contents, error)
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
