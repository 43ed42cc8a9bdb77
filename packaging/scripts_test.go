package packaging

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// head is how a drop-in of luoctl enable begins.
const head = "# Written by 'luoctl enable'; 'luoctl disable' removes it.\n"

// place is a root directory for maintainer scripts, with programs that answer as a test
// wants.
type place struct {
	t    *testing.T
	root string
	// without are the programs that are missing.
	without []string
	env     []string
}

// fake are the programs: each writes down how it was called. Answers are in files of
// /answers.
var fake = map[string]string{
	"luoctl": `case "$*" in
*"discard --all --dry-run"*) cat "$ROOT/answers/held"; exit "$(cat "$ROOT/answers/code")" ;;
*"disable --dry-run"*) [ ! -e "$ROOT/answers/stored" ] || { echo "luoctl: it has a store" >&2; exit 1; } ;;
*"unload --own"*) [ ! -e "$ROOT/answers/stuck" ] || exit 1 ;;
"disable --root"*) [ ! -e "$ROOT/answers/broken" ] || exit 1; rm "$ROOT/etc/systemd/system/$3.d/50-luod.conf" ;;
esac`,
	"systemctl": `case "$*" in
show*) [ ! -e "$ROOT/answers/entries" ] || cat "$ROOT/answers/entries" ;;
*"mask --runtime"*) ln -s /dev/null "$ROOT/run/systemd/system/luod.service"; ln -s /dev/null "$ROOT/run/systemd/system/luod-bus.service" ;;
esac`,
	"systemd-detect-virt": `[ -e "$ROOT/answers/chroot" ]`,
	"deb-systemd-invoke":  "",
	"journalctl":          "",
}

func newPlace(t *testing.T) *place {
	t.Helper()
	p := &place{t: t, root: t.TempDir()}
	for _, dir := range []string{"answers", "bin", "run/systemd/system", "run/luod", "run/issue.d", "run/motd.d", "var/lib/luod/history", "etc/luod/hooks.d", "sys/kernel"} {
		if err := os.MkdirAll(filepath.Join(p.root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	p.write("answers/held", "luod holds nothing.\n")
	p.write("answers/code", "0")
	return p
}

func (p *place) write(path, text string) {
	p.t.Helper()
	path = filepath.Join(p.root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		p.t.Fatal(err)
	}
}

func (p *place) link(to, path string) {
	p.t.Helper()
	path = filepath.Join(p.root, path)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.Symlink(to, path)); err != nil {
		p.t.Fatal(err)
	}
}

func (p *place) has(path string) bool {
	_, err := os.Lstat(filepath.Join(p.root, path))
	return err == nil
}

// absolute and rooted find paths of the system in a script, which are those of the place
// then. What leads to the package's own files is only compared.
var (
	absolute = regexp.MustCompile(`(\s)/(run|etc|var|sys)\b`)
	rooted   = regexp.MustCompile(`\$DPKG_ROOT("?[/$])`)
)

// moved is a script for which root is the root directory.
func moved(script, root string) string {
	lines := strings.SplitAfter(script, "\n")
	for i, line := range lines {
		if strings.Contains(line, "for dir in /") {
			continue // they are below $DPKG_ROOT
		}
		line = rooted.ReplaceAllString(line, "$${DPKG_ROOT:-"+root+"}${1}")
		lines[i] = absolute.ReplaceAllString(line, "${1}"+root+"/${2}")
	}
	return strings.Join(lines, "")
}

// result is what a script did.
type result struct {
	code  int
	said  string
	calls []string
}

// called says whether there was a call that begins so.
func (r result) called(call string) bool {
	return slices.ContainsFunc(r.calls, func(c string) bool { return strings.HasPrefix(c, call) })
}

// run runs a maintainer script.
func (p *place) run(name string, args ...string) result {
	p.t.Helper()
	text, err := os.ReadFile("debian/luod." + name)
	if err != nil {
		p.t.Fatal(err)
	}
	if !bytes.Contains(text, []byte("\n#DEBHELPER#\n")) {
		p.t.Fatalf("luod.%s has no place for debhelper's part", name)
	}
	script := strings.Replace(string(text), "\n#DEBHELPER#\n", "\necho debhelper >>\"$ROOT/calls\"\n", 1)
	script = moved(script, p.root)
	for program, body := range fake {
		path := filepath.Join(p.root, "bin", program)
		if slices.Contains(p.without, program) {
			os.Remove(path)
			continue
		}
		if err := os.WriteFile(path, []byte("#!/bin/sh\nprintf '%s\\n' \""+program+" $*\" >>\"$ROOT/calls\"\n"+body+"\n"), 0o755); err != nil {
			p.t.Fatal(err)
		}
	}
	// As dpkg runs it, with nothing else of the machine's in the way.
	for _, tool := range []string{"sh", "cat", "sed", "grep", "rm", "rmdir", "mkdir", "touch", "readlink", "ln"} {
		real, err := exec.LookPath(tool)
		if err != nil {
			p.t.Fatal(err)
		}
		if err := os.Symlink(real, filepath.Join(p.root, "bin", tool)); err != nil && !errors.Is(err, os.ErrExist) {
			p.t.Fatal(err)
		}
	}
	os.Remove(filepath.Join(p.root, "calls"))
	cmd := exec.Command("/bin/sh", append([]string{"-c", script, name}, args...)...)
	cmd.Env = append([]string{"PATH=" + filepath.Join(p.root, "bin"), "ROOT=" + p.root}, p.env...)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		p.t.Fatal(err)
	}
	calls, _ := os.ReadFile(filepath.Join(p.root, "calls"))
	return result{cmd.ProcessState.ExitCode(), string(out), strings.Split(strings.TrimSuffix(string(calls), "\n"), "\n")}
}

// holding has luod hold something.
func (p *place) holding() {
	p.write("answers/code", "3")
	p.write("answers/held", "UNIT  HELD\na.service  3\n")
}

// Only a removal is kept from happening, and with any other argument of Debian Policy
// 6.5 nothing is done but debhelper's part.
func TestOnlyARemovalAsksWhatIsHeld(t *testing.T) {
	for _, c := range []struct {
		script string
		args   []string
		code   int
	}{
		{"prerm", []string{"remove"}, 1},
		{"prerm", []string{"remove", "in-favour", "other", "2"}, 1},
		{"prerm", []string{"upgrade", "9"}, 0},
		{"prerm", []string{"failed-upgrade", "0", "1"}, 0},
		{"prerm", []string{"deconfigure", "in-favour", "other", "2"}, 0},
		{"prerm", []string{"deconfigure", "in-favour", "other", "2", "removing", "third", "3"}, 0},
		{"postinst", []string{"configure"}, 0},
		{"postinst", []string{"configure", "1"}, 0},
		{"postinst", []string{"abort-upgrade", "1"}, 0},
		{"postinst", []string{"abort-remove"}, 0},
		{"postinst", []string{"abort-deconfigure", "in-favour", "other", "2"}, 0},
		{"postrm", []string{"upgrade", "9"}, 0},
		{"postrm", []string{"failed-upgrade", "0", "1"}, 0},
		{"postrm", []string{"disappear", "other", "2"}, 0},
		{"postrm", []string{"abort-install"}, 0},
		{"postrm", []string{"abort-upgrade", "0", "1"}, 0},
	} {
		t.Run(c.script+" "+strings.Join(c.args, " "), func(t *testing.T) {
			p := newPlace(t)
			p.holding()
			p.write("etc/systemd/system/a.service.d/50-luod.conf", head+"[Service]\n")
			p.write("run/motd.d/50-luod", "trouble")
			p.link("/usr/lib/luod/systemctl-shim", "usr/local/sbin/systemctl")
			r := p.run(c.script, c.args...)
			if r.code != c.code {
				t.Fatalf("exit code %d: %s", r.code, r.said)
			}
			if c.code == 0 != slices.Contains(r.calls, "debhelper") {
				t.Errorf("calls %q", r.calls)
			}
			// What becomes of luod-bus concerns no memory.
			bus := map[string]string{"prerm upgrade": "systemctl stop luod-bus.service", "postinst configure": "systemctl --quiet reload dbus.service"}[c.script+" "+c.args[0]]
			if bus != "" && !slices.Contains(r.calls, bus) {
				t.Errorf("%q is not called: %q", bus, r.calls)
			}
			r.calls = slices.DeleteFunc(r.calls, func(call string) bool { return call == bus })
			if c.code == 0 && (r.called("luoctl") || r.called("systemctl") || r.said != "") {
				t.Errorf("calls %q, said %s", r.calls, r.said)
			}
			if c.code != 0 && (r.called("luoctl disable --root") || r.called("systemctl") || !strings.Contains(r.said, "a.service  3") || !strings.Contains(r.said, "luoctl discard --all")) {
				t.Errorf("calls %q, said %s", r.calls, r.said)
			}
			for _, path := range []string{"etc/systemd/system/a.service.d/50-luod.conf", "run/motd.d/50-luod", "usr/local/sbin/systemctl", "var/lib/luod/history", "run/luod"} {
				if !p.has(path) {
					t.Errorf("%s is gone", path)
				}
			}
		})
	}
}

func TestWhenARemovalIsLetHappen(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(p *place)
		code    int
		// says is what it says, and does a call that it makes.
		says, does string
	}{
		"nothing held":           {prepare: func(p *place) {}, does: "systemctl --quiet mask --runtime luod.service luod-bus.service"},
		"held":                   {prepare: (*place).holding, code: 1, says: "not removed"},
		"held, by a host's luod": {prepare: func(p *place) { p.holding(); p.write("answers/chroot", "") }},
		"held, in another root":  {prepare: func(p *place) { p.holding(); p.env = []string{"DPKG_ROOT=" + p.root} }},
		"no systemd": {prepare: func(p *place) {
			p.holding()
			os.RemoveAll(filepath.Join(p.root, "run/systemd"))
		}},
		"no luod, nothing in the store": {prepare: func(p *place) { p.write("answers/code", "1"); p.write("answers/entries", "0\n") }, says: "nothing is held"},
		"no luod, its store full":       {prepare: func(p *place) { p.write("answers/code", "1"); p.write("answers/entries", "7\n") }, code: 1, says: "systemctl clean --what=fdstore luod.service"},
		"no luod and no PID 1":          {prepare: func(p *place) { p.write("answers/code", "1") }, code: 1, says: "LUOD_REMOVE_ANYWAY=1"},
		"no luod and no PID 1, anyway": {prepare: func(p *place) {
			p.write("answers/code", "1")
			p.env = []string{"LUOD_REMOVE_ANYWAY=1"}
		}},
		"anyway, but held":          {prepare: func(p *place) { p.holding(); p.env = []string{"LUOD_REMOVE_ANYWAY=1"} }, code: 1},
		"no luoctl":                 {prepare: func(p *place) { p.without = []string{"luoctl"}; p.write("answers/entries", "0\n") }},
		"no luoctl, its store full": {prepare: func(p *place) { p.without = []string{"luoctl"}; p.write("answers/entries", "7\n") }, code: 1, says: "7 file descriptors"},
		"no systemd-detect-virt":    {prepare: func(p *place) { p.holding(); p.without = []string{"systemd-detect-virt"} }, code: 1},
		"a unit's own store": {prepare: func(p *place) {
			p.write("answers/stored", "")
			p.write("etc/systemd/system/a.service.d/50-luod.conf", head)
			p.write("etc/systemd/system/b.service.d/50-luod.conf", "[Service]\n")
		}, code: 1, says: "luoctl disable --force a.service'"},
		"both": {prepare: func(p *place) {
			p.holding()
			p.write("answers/stored", "")
			p.write("etc/systemd/system/a.service.d/50-luod.conf", head)
		}, code: 1, says: "luoctl disable --force a.service'"},
		"a kernel is loaded":              {prepare: func(p *place) { p.write("sys/kernel/kexec_loaded", "1\n") }, does: "luoctl unload --own"},
		"a kernel that can't be unloaded": {prepare: func(p *place) { p.write("sys/kernel/kexec_loaded", "1\n"); p.write("answers/stuck", "") }, says: "kexec --unload"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t)
			c.prepare(p)
			r := p.run("prerm", "remove")
			if r.code != c.code || !strings.Contains(r.said, c.says) {
				t.Errorf("exit code %d: %s", r.code, r.said)
			}
			if c.does != "" && !r.called(c.does) {
				t.Errorf("calls %q", r.calls)
			}
			if c.code != 0 && (r.called("debhelper") || r.called("luoctl unload") || r.called("luoctl disable --root") || r.called("systemctl stop") || p.has("run/systemd/system/luod.service")) {
				t.Errorf("something was changed: %q", r.calls)
			}
			if c.code == 0 {
				// It was looked at before it was stopped, and cleaned afterwards.
				at := func(call string) int {
					return slices.IndexFunc(r.calls, func(c string) bool { return strings.HasPrefix(c, call) })
				}
				here := r.called("luoctl discard") || slices.Contains(p.without, "luoctl")
				if clean := at("systemctl clean --what=fdstore luod.service"); at("debhelper") < at("luoctl discard") || here && clean < at("debhelper") {
					t.Errorf("in the wrong order: %q", r.calls)
				}
			}
			host := slices.Contains([]string{"no systemd", "held, by a host's luod", "held, in another root"}, name)
			if host && (r.called("systemctl ") || r.called("luoctl discard") || r.called("luoctl unload")) {
				t.Errorf("it went for what is not this system's: %q", r.calls)
			}
		})
	}
}

// What can't start without the package is taken back, or named.
func TestARemovalNamesWhoCanNotStart(t *testing.T) {
	p := newPlace(t)
	p.write("etc/systemd/system/a.service.d/50-luod.conf", head+"[Service]\nExecStartPre=+/usr/lib/luod/luod-reissue\n")
	for path, text := range map[string]string{
		"etc/systemd/system/own.service":               "[Service]\nExecStartPre=+/usr/lib/luod/luod-reissue --memfd=a:1M\n",
		"usr/lib/systemd/system/shell.service":         "[Service]\n ExecStartPre = /bin/sh -c '/usr/lib/luod/luod-reissue; true'\n",
		"run/systemd/system/in.service.d/50-luod.conf": "[Service]\nExecStartPre=!/usr/lib/luod/luod-reissue\n",
		"etc/systemd/system/may-fail.service":          "[Service]\nExecStartPre=+-/usr/lib/luod/luod-reissue\n",
		"etc/systemd/system/comment.service":           "[Service]\n#ExecStartPre=/usr/lib/luod/luod-reissue\nExecStart=/bin/true\n",
		"usr/local/lib/systemd/system/other.service":   "[Service]\nExecStart=/usr/bin/luod-reissued\n",
	} {
		p.write(path, text)
	}
	r := p.run("prerm", "remove")
	if r.code != 0 {
		t.Fatalf("exit code %d: %s", r.code, r.said)
	}
	if p.has("etc/systemd/system/a.service.d/50-luod.conf") || !strings.Contains(r.said, "a.service no longer takes part") {
		t.Errorf("the drop-in: %s", r.said)
	}
	_, named, _ := strings.Cut(r.said, "taken out of:")
	named, _, _ = strings.Cut(named, "\n")
	names := strings.Fields(strings.ReplaceAll(named, p.root, ""))
	slices.Sort(names)
	if want := []string{"/etc/systemd/system/own.service", "/run/systemd/system/in.service.d/50-luod.conf", "/usr/lib/systemd/system/shell.service"}; !slices.Equal(names, want) {
		t.Errorf("named %q, want %q", names, want)
	}
}

func TestWhatARemovalAndAPurgeLeave(t *testing.T) {
	// Each is there until the script with the argument has run; "" stays.
	files := map[string]string{
		"etc/systemd/system/a.service.d/50-luod.conf":                    "remove",
		"run/issue.d/50-luod.issue":                                      "remove",
		"run/motd.d/50-luod":                                             "remove",
		"run/systemd/system/luod.service":                                "remove",
		"usr/local/sbin/systemctl":                                       "remove",
		"usr/local/share/bash-completion/completions/systemctl":          "remove",
		"etc/systemd/system/luod-restore.target.wants/a.service":         "purge",
		"run/luod/record.json":                                           "purge",
		"run/luod":                                                       "purge",
		"var/lib/luod/history/1.json":                                    "purge",
		"var/lib/luod":                                                   "purge",
		"etc/luod":                                                       "purge",
		"etc/systemd/system/b.service.d/50-luod.conf":                    "",
		"etc/systemd/system/a.service.d/10-other.conf":                   "",
		"usr/local/bin/systemctl":                                        "",
		"etc/systemd/system/sysinit.target.wants/somebody-elses.service": "",
	}
	p := newPlace(t)
	p.write("etc/systemd/system/a.service.d/50-luod.conf", head)
	p.write("etc/systemd/system/a.service.d/10-other.conf", "[Service]\n")
	p.write("etc/systemd/system/b.service.d/50-luod.conf", "[Service]\n")
	p.write("etc/systemd/system/sysinit.target.wants/somebody-elses.service", "")
	p.write("run/issue.d/50-luod.issue", "x")
	p.write("run/motd.d/50-luod", "x")
	p.write("run/luod/record.json", "{}")
	p.write("run/luod/removing", "")
	p.link("/dev/null", "run/systemd/system/luod.service")
	p.write("var/lib/luod/history/1.json", "{}")
	p.link("/usr/lib/luod/systemctl-shim", "usr/local/sbin/systemctl")
	p.link("/usr/lib/luod/systemctl-completion.bash", "usr/local/share/bash-completion/completions/systemctl")
	p.link("/opt/systemctl", "usr/local/bin/systemctl")
	p.link("../a.service", "etc/systemd/system/luod-restore.target.wants/a.service")
	var done []string
	for _, step := range []string{"remove", "purge", "purge"} {
		if r := p.run("postrm", step); r.code != 0 || r.said != "" {
			t.Fatalf("%s: exit code %d: %s", step, r.code, r.said)
		}
		done = append(done, step)
		for path, until := range files {
			if has := p.has(path); has == slices.Contains(done, until) {
				t.Errorf("after %q: %s is there: %t", done, path, has)
			}
		}
	}
}

// An administrator's hooks are not luod's.
func TestAPurgeNamesWhatItLeaves(t *testing.T) {
	p := newPlace(t)
	p.write("etc/luod/hooks.d/mine", "#!/bin/sh\n")
	if r := p.run("postrm", "purge"); r.code != 0 || !strings.Contains(r.said, "/etc/luod is left") {
		t.Errorf("exit code %d: %s", r.code, r.said)
	}
	if !p.has("etc/luod/hooks.d/mine") {
		t.Error("it is gone")
	}
}

// A chroot may see the /run of its host.
func TestAPurgeInAChrootLeavesTheHostsRun(t *testing.T) {
	for name, prepare := range map[string]func(p *place){
		"chroot":       func(p *place) { p.write("answers/chroot", "") },
		"another root": func(p *place) { p.env = []string{"DPKG_ROOT=" + p.root} },
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t)
			prepare(p)
			p.write("run/luod/record.json", "{}")
			p.write("run/luod/removing", "")
			p.write("run/motd.d/50-luod", "x")
			for _, step := range [][2]string{{"postrm", "remove"}, {"postinst", "configure"}, {"postrm", "purge"}} {
				if r := p.run(step[0], step[1]); r.code != 0 {
					t.Fatalf("%s: exit code %d: %s", step, r.code, r.said)
				}
			}
			if !p.has("run/luod/record.json") || !p.has("run/luod/removing") || !p.has("run/motd.d/50-luod") {
				t.Error("the host's is gone")
			}
			if p.has("var/lib/luod") {
				t.Error("its own is still there")
			}
		})
	}
}

// A removal that dpkg has not finished masked luod, and it has to start again.
func TestAnAbandonedRemovalMasksNothing(t *testing.T) {
	p := newPlace(t)
	if r := p.run("prerm", "remove"); r.code != 0 || !p.has("run/systemd/system/luod.service") {
		t.Fatalf("exit code %d: %s", r.code, r.said)
	}
	if r := p.run("postinst", "abort-remove"); r.code != 0 || p.has("run/systemd/system/luod.service") || p.has("run/luod/removing") {
		t.Fatalf("exit code %d: %s", r.code, r.said)
	}
	// One that an administrator has masked stays so.
	p.link("/dev/null", "run/systemd/system/luod.service")
	p.run("prerm", "remove")
	if p.run("postinst", "abort-remove"); !p.has("run/systemd/system/luod.service") {
		t.Error("it was unmasked")
	}
}

// The scripts know a drop-in of enable by its first line.
func TestTheScriptsKnowTheDropIn(t *testing.T) {
	source, err := os.ReadFile("../luoctl/enable.go")
	if err != nil {
		t.Fatal(err)
	}
	line := strings.TrimSuffix(head, "\n")
	for _, path := range []string{"debian/luod.prerm", "debian/luod.postrm"} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), `"`+line+`"`) {
			t.Errorf("%s doesn't look for %q", path, line)
		}
	}
	if !strings.Contains(string(source), `dropInHead = "`+line+`\n"`) {
		t.Errorf("enable doesn't write %q", line)
	}
}
