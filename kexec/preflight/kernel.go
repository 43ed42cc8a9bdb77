package preflight

import (
	"fmt"
	"slices"
	"strings"

	"github.com/liveupdate/luod/kexec/image"
)

func (j *job) kernelImage() Result {
	if j.openError != nil {
		return Result{Verdict: Fail, Reason: j.openError.Error(), Remedy: "name another boot entry or kernel; 'luoctl list-entries' shows what there is"}
	}
	i := j.sources.Image
	if i.Arch != j.Arch {
		return Result{Verdict: Fail, Reason: fmt.Sprintf("%s is a kernel for %s, and this machine is %s", j.target.Kernel, i.Arch, j.Arch), Remedy: "name a kernel for this machine"}
	}
	facts, err := j.facts()
	if err != nil {
		return Result{Verdict: Fail, Reason: fmt.Sprintf("%s: %v", j.target.Kernel, err), Remedy: "it is damaged or half written: install it again"}
	}
	if j.release() == "" {
		return Result{Verdict: Warn, Reason: fmt.Sprintf("%s doesn't tell its version", j.target.Kernel), Remedy: "check by hand that it is what you want"}
	}
	if facts.Release != "" && i.Version != "" && facts.Release != i.Version {
		return Result{Verdict: Fail, Reason: fmt.Sprintf("%s says in its header that it is %s, and inside that it is %s", j.target.Kernel, i.Version, facts.Release), Remedy: "it was tampered with or put together wrongly: install it again"}
	}
	return Result{Verdict: OK, Reason: fmt.Sprintf("Linux %s for %s, %s", j.release(), i.Arch, i.Format)}
}

// neededOptions are what a target needs to take memory over and to start luod.
var neededOptions = []string{"LIVEUPDATE", "KEXEC_HANDOVER", "LIVEUPDATE_MEMFD", "DEVTMPFS"}

// embedded is where a configuration is that nobody can change without the image.
const embedded = "embedded in the image"

// config is the target's: what is built into it is what it is, and a file beside
// it the next best.
func (j *job) config() (image.Config, string) {
	if facts, err := j.facts(); err == nil && facts.Config != nil {
		return image.ParseConfig(facts.Config), embedded
	}
	return j.configOf(j.release())
}

func (j *job) kernelConfig() Result {
	if j.sources == nil {
		return j.unread()
	}
	config, source := j.config()
	if config == nil {
		return Result{Verdict: Warn, Reason: "its configuration is neither embedded in the image nor in /usr/lib/modules or /boot", Remedy: "install the configuration that belongs to it as /boot/config-" + j.release()}
	}
	missing := slices.DeleteFunc(slices.Clone(neededOptions), config.Has)
	if len(missing) > 0 {
		return Result{Verdict: Fail, Reason: fmt.Sprintf("it is built without CONFIG_%s (%s)", strings.Join(missing, ", CONFIG_"), source), Remedy: "boot a kernel that has them"}
	}
	return Result{Verdict: OK, Reason: fmt.Sprintf("it has CONFIG_%s (%s)", strings.Join(neededOptions, ", CONFIG_"), source)}
}

// readableBy are formats that a kernel with another one is known to read: the
// writer's format → the readers'. There are none so far: each kernel refuses what
// is not exactly its own (include/linux/kho/abi/luo.h and its neighbours).
var readableBy = map[string][]string{}

func (j *job) handoverFormat() Result {
	if j.sources == nil {
		return j.unread()
	}
	target, err := j.facts()
	if err != nil {
		return j.unread()
	}
	if len(target.Handover) == 0 {
		return Result{Verdict: Fail, Reason: "it knows no handover format at all", Remedy: "boot a kernel with the Live Update Orchestrator"}
	}
	running, err := j.running()
	if err != nil {
		return Result{Verdict: Warn, Reason: fmt.Sprintf("it reads %s; what the running kernel writes is unknown: %v", strings.Join(target.Handover, " "), err), Remedy: "install the image of the running kernel as /boot/vmlinuz-" + j.Release}
	}
	return compare(running.Handover, target.Handover)
}

// compare says whether a reader understands all that a writer writes.
func compare(writes, reads []string) Result {
	if len(writes) == 0 {
		return Result{Verdict: Fail, Reason: "the running kernel knows no handover format", Remedy: "boot a kernel with the Live Update Orchestrator, once, the ordinary way"}
	}
	var refused, lost, anew []string
	for _, w := range writes {
		if slices.Contains(reads, w) || slices.ContainsFunc(readableBy[w], func(r string) bool { return slices.Contains(reads, r) }) {
			continue
		}
		switch kind, known := image.HandoverOf(w); {
		case !known:
			lost = append(lost, fmt.Sprintf("%s, which nobody here knows", w))
		case kind.Loss == "":
			anew = append(anew, w)
		case kind.Loss == image.Everything:
			refused = append(refused, w)
		default:
			lost = append(lost, fmt.Sprintf("%s (%s)", w, kind.Loss))
		}
	}
	const remedy = "choose a kernel with the same formats, or go there with an ordinary reboot"
	switch {
	case len(refused) > 0:
		return Result{Verdict: Fail, Reason: fmt.Sprintf("the running kernel writes %s, and it reads %s: it would refuse everything", strings.Join(refused, " "), strings.Join(reads, " ")), Remedy: remedy}
	case len(lost) > 0:
		return Result{Verdict: Fail, Reason: fmt.Sprintf("the running kernel writes %s, and it reads %s: what is preserved so would be lost", strings.Join(lost, ", "), strings.Join(reads, " ")), Remedy: remedy}
	case len(anew) > 0:
		return Result{Verdict: Warn, Reason: fmt.Sprintf("the running kernel writes %s, and it reads %s: regions of reserve_mem= begin empty; luod's memory is none of that", strings.Join(anew, " "), strings.Join(reads, " ")), Remedy: remedy}
	}
	return Result{Verdict: OK, Reason: "both kernels use " + strings.Join(writes, " ")}
}

func (j *job) unchanged() Result {
	if j.sources == nil {
		return j.unread()
	}
	digest, err := j.digest()
	switch {
	case err != nil:
		return Result{Verdict: Fail, Reason: err.Error(), Remedy: "check the disk"}
	case j.options.Digest == "":
		return Result{Verdict: OK, Reason: "SHA-256 " + digest}
	case digest != j.options.Digest:
		return Result{Verdict: Fail, Reason: fmt.Sprintf("%s or its initrd is no longer what was loaded (SHA-256 %s, was %s)", j.target.Kernel, digest, j.options.Digest), Remedy: "load it again with 'luoctl load'"}
	}
	return Result{Verdict: OK, Reason: "it is still what was loaded (SHA-256 " + digest + ")"}
}
