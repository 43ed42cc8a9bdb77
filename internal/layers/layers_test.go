package layers

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/liveupdate/luod/"

// pkg is what go list says of a package.
type pkg struct {
	ImportPath   string
	Name         string
	Doc          string
	Standard     bool
	Imports      []string
	TestImports  []string
	XTestImports []string
	Deps         []string
}

// list returns all packages of this module, by their paths in it, and the standard
// library's paths.
func list(t *testing.T) (ours map[string]pkg, standard map[string]bool) {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", "-json=ImportPath,Name,Doc,Standard,Imports,TestImports,XTestImports,Deps", "./...")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("%v: %s", err, exit.Stderr)
		}
		t.Fatal(err)
	}
	ours, standard = map[string]pkg{}, map[string]bool{}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return ours, standard
		} else if err != nil {
			t.Fatal(err)
		}
		switch path, is := strings.CutPrefix(p.ImportPath, module); {
		case is:
			ours[path] = p
		case p.Standard:
			standard[p.ImportPath] = true
		}
	}
}

// within says whether path is dir or below it.
func within(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

func anyWithin(path string, dirs []string) bool {
	return slices.ContainsFunc(dirs, func(dir string) bool { return within(path, dir) })
}

// rule is what packages may depend on, directly or not. The standard library is always
// allowed.
type rule struct {
	// of is a package, or with /... all below it too. A package is judged by the first rule
	// that is for it; what is below a rule's directory may depend on each other.
	of string
	// ours are packages of this module, with /... all below too, and others other modules.
	ours, others []string
}

const (
	sys     = "golang.org/x/sys"
	dbus    = "github.com/godbus/dbus/v5"
	systemd = "github.com/coreos/go-systemd/v22"
)

// decompressors are what kernel images and initrds are packed with.
var decompressors = []string{
	"github.com/klauspost/compress", "github.com/anchore/go-lzo", "github.com/pierrec/lz4/v4",
	"github.com/therootcompany/xz", "github.com/ulikunitz/xz",
}

var rules = []rule{
	// The public ones import nothing of ours but themselves.
	{"luo/luofake/...", []string{"luo", "luo/internal/..."}, []string{sys}},
	{"luo/...", nil, []string{sys}},
	{"client/...", nil, []string{dbus, sys}},
	// Whoever loads and unloads, and reads results of checks, links no parser of foreign
	// bytes; those are in packages of their own.
	{"kexec", nil, []string{sys}},
	{"kexec/verdict", []string{"kexec"}, []string{sys}},
	{"kexec/...", []string{"kexec"}, append([]string{sys, "github.com/smallstep/pkcs7"}, decompressors...)},
	// What programs share knows no program.
	{"internal/...", []string{"client/errorname", "luo", "kexec", "kexec/verdict"}, []string{sys, systemd, dbus}},
	// The programs know what is shared, and not each other. The daemon holds the memory, so
	// that it reads no kernel images, boot entries or initrds.
	{"luod/...", []string{"internal/...", "client/errorname", "luo/...", "kexec", "kexec/verdict"}, []string{sys, systemd, dbus}},
	{"luoctl/systemctl-shim", nil, nil},
	{"luoctl/...", []string{"internal/...", "client/errorname"}, []string{sys, systemd, dbus, "github.com/spf13", "github.com/inconshreveable/mousetrap"}},
	{"hooks/luod-kexec", []string{"internal/...", "client/errorname", "kexec/..."}, append([]string{sys, "github.com/smallstep/pkcs7"}, decompressors...)},
	{"hooks/...", []string{"internal/...", "client/errorname"}, []string{sys, systemd, dbus, "github.com/moby/sys/mountinfo"}},
}

// matches says whether path is what a pattern means.
func matches(path, pattern string) bool {
	dir, below := strings.CutSuffix(pattern, "/...")
	return path == dir || below && strings.HasPrefix(path, dir+"/")
}

// free are packages that may do as they like: what is only for tests.
var free = []string{"vmtest", "packaging", "units"}

func TestDependenciesPointDownwards(t *testing.T) {
	ours, standard := list(t)
	for path, p := range ours {
		if anyWithin(path, free) || path == "luod/internal/measure" {
			continue
		}
		at := slices.IndexFunc(rules, func(r rule) bool { return matches(path, r.of) })
		if at < 0 {
			t.Errorf("%s: no rule says what it may import", path)
			continue
		}
		r := rules[at]
		for _, dep := range p.Deps {
			mine, is := strings.CutPrefix(dep, module)
			switch {
			case standard[dep], strings.HasPrefix(dep, "vendor/"), dep == "unsafe":
			case is && (matches(mine, r.of) || slices.ContainsFunc(r.ours, func(o string) bool { return matches(mine, o) })):
			case !is && anyWithin(dep, r.others):
			default:
				t.Errorf("%s depends on %s, which the rule for %s does not allow", path, mine, r.of)
			}
		}
	}
}

// Programs are not imported, and what is in a program's internal is by that program alone:
// the compiler sees to the latter.
func TestNobodyImportsAProgram(t *testing.T) {
	ours, _ := list(t)
	for path, p := range ours {
		for _, dep := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			if mine, is := strings.CutPrefix(dep, module); is && ours[mine].Name == "main" {
				t.Errorf("%s imports the program %s", path, mine)
			}
		}
	}
}

// PID 1's private socket is dialled by few, who know what to ask there.
func TestFewAskPID1OverItsPrivateSocket(t *testing.T) {
	ours, _ := list(t)
	const library = "github.com/coreos/go-systemd/v22/dbus"
	// The bus only escapes the names of objects with it.
	allowed := []string{"luod/internal/pid1", "internal/storeview", "hooks/luod-reissue", "luoctl", "internal/busserver"}
	for path, p := range ours {
		if slices.Contains(p.Imports, library) && !anyWithin(path, allowed) && !anyWithin(path, free) {
			t.Errorf("%s imports %s", path, library)
		}
	}
}

// The daemon is on no bus on which others can send, and links nothing that could be: what of
// godbus it has is the library's that speaks with PID 1 over its private socket.
func TestTheDaemonIsOnNoBus(t *testing.T) {
	ours, _ := list(t)
	for _, dep := range append(ours["luod"].Deps, module+"luod") {
		mine, is := strings.CutPrefix(dep, module)
		if !is {
			continue
		}
		if slices.Contains([]string{"internal/busconn", "internal/busserver", "client"}, mine) {
			t.Errorf("luod depends on %s", mine)
		}
		if slices.Contains(ours[mine].Imports, dbus) && !slices.Contains([]string{"internal/storeview", "luod/internal/pid1"}, mine) {
			t.Errorf("%s, which luod depends on, imports %s", mine, dbus)
		}
	}
}
