package preflight

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/liveupdate/luod/kexec"
)

func (j *job) commandLine() Result {
	text := j.target.CommandLine
	line := kexec.ParseCommandLine(text)
	for _, name := range []string{"kho", "liveupdate"} {
		// Both are read with kstrtobool (lib/kstrtox.c).
		if v, _ := line.Value(name); v != "on" && v != "1" && v != "y" {
			return Result{Verdict: Fail, Reason: fmt.Sprintf("it does not have %s=on: %s", name, text), Remedy: "add kho=on liveupdate=on"}
		}
	}
	if strings.ContainsAny(text, "\x00\n") || !utf8.ValidString(text) {
		// Neither the bus nor the record would carry it as it is.
		return Result{Verdict: Fail, Reason: "it contains a NUL, a newline, or what is no UTF-8", Remedy: "correct the boot entry"}
	}
	if j.sources == nil {
		return j.unread()
	}
	if limit := j.sources.Image.MaxCommandLine; len(text) > limit {
		return Result{Verdict: Fail, Reason: fmt.Sprintf("it has %d bytes, and this kernel takes at most %d: %s", len(text), limit, text), Remedy: "shorten the boot entry's options"}
	}
	return Result{Verdict: OK, Reason: text}
}

// findable are the forms of root= that the kernel itself understands
// (block/early-lookup.c); the others need an initrd.
var findable = []string{"/dev/", "PARTUUID=", "PARTLABEL="}

func (j *job) rootDevice() Result {
	if j.sources == nil {
		return j.unread()
	}
	root, named := kexec.ParseCommandLine(j.target.CommandLine).Value("root")
	now, wasNamed := kexec.ParseCommandLine(j.text("proc/cmdline")).Value("root")
	withInitrd := len(j.sources.Initrds) > 0
	switch {
	case !named && !withInitrd:
		return Result{Verdict: Fail, Reason: "there is neither root= nor an initrd that could find the root file system", Remedy: "add root= to the boot entry's options"}
	case !named && !wasNamed:
		return Result{Verdict: OK, Reason: "no root= now or then: the initrd finds the root file system"}
	case !named:
		return Result{Verdict: Warn, Reason: "no root=, while this boot had root=" + now + "; whether its initrd finds the same one is unknown", Remedy: "add root=" + now + " to the boot entry's options"}
	}
	if !withInitrd && !hasPrefix(root, findable) && (strings.Contains(root, "=") || strings.Contains(root, "/")) {
		return Result{Verdict: Fail, Reason: "the kernel can't find root=" + root + " without an initrd", Remedy: "add an initrd, or name the root file system by PARTUUID="}
	}
	if wasNamed && root == now {
		return Result{Verdict: OK, Reason: "root=" + root + " as in this boot"}
	}
	mounted, err := j.rootMount()
	if err != nil {
		return Result{Verdict: Warn, Reason: fmt.Sprintf("whether root=%s is the present root file system is unknown: %v", root, err), Remedy: "compare by hand"}
	}
	path := rootPath(root)
	if path == "" {
		return Result{Verdict: Warn, Reason: "whether root=" + root + " is the present root file system is unknown", Remedy: "compare by hand"}
	}
	number, err := j.deviceNumber(j.path(path))
	if err != nil {
		return Result{Verdict: Fail, Reason: fmt.Sprintf("root=%s is not there: %v", root, err), Remedy: "correct root= in the boot entry's options"}
	}
	if number != mounted.device {
		return Result{Verdict: Fail, Reason: fmt.Sprintf("root=%s is another file system than the present one (%s)", root, mounted.source), Remedy: "correct root= in the boot entry's options; services would find other data"}
	}
	return Result{Verdict: OK, Reason: "root=" + root + " is the present root file system"}
}

func hasPrefix(text string, prefixes []string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(text, p) {
			return true
		}
	}
	return false
}

// rootPath is where udev has what root= names, or "".
func rootPath(root string) string {
	if strings.HasPrefix(root, "/dev/") {
		return root
	}
	kind, value, _ := strings.Cut(root, "=")
	dir := map[string]string{"UUID": "by-uuid", "PARTUUID": "by-partuuid", "LABEL": "by-label", "PARTLABEL": "by-partlabel"}[kind]
	if dir == "" || value == "" || strings.Contains(value, "/") {
		return ""
	}
	if kind == "UUID" || kind == "PARTUUID" {
		value = strings.ToLower(value)
	}
	return "/dev/disk/" + dir + "/" + value
}
