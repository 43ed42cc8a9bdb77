package preflight

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/liveupdate/luod/kexec/compression"
	"github.com/liveupdate/luod/kexec/image"
	"github.com/liveupdate/luod/kexec/initrd"
)

// readInitrds looks into all parts. It stops at the target's modules: they are
// what is asked for, and unpacking the rest takes longest.
func (j *job) readInitrds() (initrd.Contents, error) {
	all := initrd.Contents{Complete: true}
	release := j.release()
	for _, part := range j.sources.Initrds {
		c, err := initrd.Read(part.Reader, func(c initrd.Contents) bool {
			return release != "" && slices.Contains(c.Modules, release)
		})
		if err != nil {
			return all, fmt.Errorf("%s: %w", part.Name, err)
		}
		all.Compressions = append(all.Compressions, c.Compressions...)
		all.Modules = append(all.Modules, c.Modules...)
		all.Complete = all.Complete && c.Complete
	}
	return all, nil
}

func (j *job) initrd() Result {
	if j.sources == nil {
		return j.unread()
	}
	config, _ := j.config()
	missing, known := j.notBuiltIn(config)
	if len(j.sources.Initrds) == 0 {
		switch {
		case len(missing) > 0:
			return Result{Verdict: Fail, Reason: fmt.Sprintf("there is none, and the root file system needs what is not built into the kernel: %s", strings.Join(missing, ", ")), Remedy: "name its initrd in the boot entry or with --initrd="}
		case !known:
			return Result{Verdict: Warn, Reason: "there is none, and whether the kernel reaches the root file system without is unknown", Remedy: "install the kernel's modules directory, or name an initrd"}
		}
		return Result{Verdict: OK, Reason: "none, and none is needed"}
	}
	contents, err := j.contents()
	if err != nil {
		return Result{Verdict: Fail, Reason: fmt.Sprintf("read the initrd: %v", err), Remedy: "make it again, for example with 'update-initramfs -u' or 'dracut --force'"}
	}
	for _, c := range contents.Compressions {
		option := "RD_" + strings.ToUpper(string(c))
		if config != nil && !config.Has(option) {
			return Result{Verdict: Fail, Reason: fmt.Sprintf("it is compressed with %s, and the kernel is built without CONFIG_%s", c, option), Remedy: "make it again with another compression"}
		}
	}
	packed := "uncompressed"
	if len(contents.Compressions) > 0 {
		packed = strings.Join(names(contents.Compressions), " and ")
	}
	release := j.release()
	switch {
	case slices.Contains(contents.Modules, release):
		return Result{Verdict: OK, Reason: fmt.Sprintf("%s, with modules for %s", packed, release)}
	case known && len(missing) == 0:
		return Result{Verdict: OK, Reason: packed + ", without modules, and none are needed"}
	case len(missing) > 0 && len(contents.Modules) > 0:
		return Result{Verdict: Fail, Reason: fmt.Sprintf("it has modules for %s and not for %s, which needs %s", strings.Join(contents.Modules, ", "), release, strings.Join(missing, ", ")), Remedy: "make one for this kernel"}
	case len(missing) > 0:
		return Result{Verdict: Fail, Reason: fmt.Sprintf("it has no modules, and the root file system needs %s", strings.Join(missing, ", ")), Remedy: "make one for this kernel"}
	}
	return Result{Verdict: Warn, Reason: fmt.Sprintf("%s, without modules for %s; whether they are needed is unknown", packed, release), Remedy: "install the kernel's modules directory"}
}

func names(formats []compression.Format) []string {
	var list []string
	for _, f := range formats {
		list = append(list, string(f))
	}
	return list
}

// notBuiltIn returns what the way to the root file system needs and the target
// has only as a module or not at all, and whether that is known.
func (j *job) notBuiltIn(config image.Config) (missing []string, known bool) {
	m, err := j.rootMount()
	if err != nil {
		return nil, false
	}
	if config != nil && !config.Modules() {
		// Nothing is a module: what is not there, no initrd would bring.
		if option := fileSystemOptions[m.kind]; option != "" && !config.Has(option) {
			return []string{m.kind}, true
		}
		return nil, true
	}
	builtin, err := j.moduleList(j.release(), "modules.builtin")
	if err != nil {
		return nil, false
	}
	loadable, err := j.moduleList(j.release(), "modules.order")
	if err != nil {
		return nil, false
	}
	for _, d := range j.drivers(m) {
		// What is in neither list is a driver that can't be a module (of a bus),
		// but a file system always can.
		needed := slices.Contains(loadable, d) || d == m.kind
		if needed && !slices.Contains(builtin, d) && !slices.Contains(missing, d) {
			missing = append(missing, d)
		}
	}
	return missing, true
}

// fileSystemOptions name the options of file systems that systems boot from.
var fileSystemOptions = map[string]string{
	"ext4": "EXT4_FS", "xfs": "XFS_FS", "btrfs": "BTRFS_FS", "f2fs": "F2FS_FS",
	"squashfs": "SQUASHFS", "erofs": "EROFS_FS", "overlay": "OVERLAY_FS", "nfs": "NFS_FS", "nfs4": "NFS_V4",
}

// moduleList reads the names in a kernel's modules.builtin or modules.order
// (Documentation/kbuild/kbuild.rst).
func (s System) moduleList(release, file string) ([]string, error) {
	if release == "" || strings.Contains(release, "/") {
		return nil, os.ErrNotExist
	}
	for _, dir := range []string{"/usr/lib/modules", "/lib/modules"} {
		text, err := os.ReadFile(s.path(dir, release, file))
		if err != nil {
			continue
		}
		var list []string
		for line := range bytes.Lines(text) {
			name := string(bytes.TrimSpace(line))
			name = name[strings.LastIndexByte(name, '/')+1:]
			name, _, _ = strings.Cut(name, ".ko")
			list = append(list, strings.ReplaceAll(name, "-", "_"))
		}
		return list, nil
	}
	return nil, os.ErrNotExist
}

func (j *job) modules() Result {
	if j.sources == nil {
		return j.unread()
	}
	release := j.release()
	if release == "" {
		return Result{Verdict: Warn, Reason: "unknown, since the kernel doesn't tell its version", Remedy: "see kernel-image"}
	}
	for _, dir := range []string{"/usr/lib/modules", "/lib/modules"} {
		if j.exists(dir, release) {
			return Result{Verdict: OK, Reason: dir + "/" + release + " is there"}
		}
	}
	config, source := j.config()
	switch {
	case config == nil:
		return Result{Verdict: Warn, Reason: "/usr/lib/modules/" + release + " is missing, and whether the kernel has any modules is unknown", Remedy: "install the kernel's modules"}
	case config.Modules():
		return Result{Verdict: Fail, Reason: "/usr/lib/modules/" + release + " is missing", Remedy: "install the kernel's modules: without them devices and file systems would be missing after the jump"}
	}
	return Result{Verdict: OK, Reason: "nothing is built as a module", Lasting: source == embedded}
}
