package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// host is a machine with one unit, and its PID 1: that tells of the unit as its files
// are, with the drop-in that enable wrote.
type host struct {
	t *testing.T
	// root is its file system, and PID 1 sees the paths below it.
	root string
	// more are properties as they are without our drop-in.
	more map[string]any
}

const hostUnit = "x.service"

// newHost makes the files; their names are below /etc/systemd/system.
func newHost(t *testing.T, files map[string]string) *host {
	t.Helper()
	h := &host{t: t, root: t.TempDir(), more: map[string]any{"After": []string{"sysinit.target", "basic.target", "system.slice", "network.target"}, "Requires": []string{"sysinit.target", "system.slice"}}}
	for name, text := range files {
		if err := replaceFile(filepath.Join(h.root, "/etc/systemd/system", name), text); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

// GetAllPropertiesContext reads the files as PID 1 does, without a cache: as after a
// daemon-reload.
func (h *host) GetAllPropertiesContext(_ context.Context, unit string) (map[string]any, error) {
	dir := filepath.Join(h.root, "/etc/systemd/system")
	dropIns, err := filepath.Glob(filepath.Join(dir, unit+".d", "*.conf")) // sorted
	if err != nil {
		return nil, err
	}
	p := map[string]any{
		"LoadState": "loaded", "ActiveState": "active", "FragmentPath": filepath.Join(dir, unit), "DropInPaths": dropIns,
		"Type": "simple", "FileDescriptorStorePreserve": "restart", "NeedDaemonReload": false,
	}
	maps.Copy(p, h.more)
	access, storeMax, pre := "none", uint64(0), []string{}
	for _, path := range append([]string{filepath.Join(dir, unit)}, dropIns...) {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		section := ""
		for line := range strings.Lines(string(text)) {
			line = strings.TrimSpace(line)
			key, value, _ := strings.Cut(line, "=")
			switch {
			case strings.HasPrefix(line, "["):
				section = line
			case section == "[Unit]" && key == "DefaultDependencies" && value == "no":
				p["After"] = slices.DeleteFunc(slices.Clone(p["After"].([]string)), func(u string) bool { return u == "sysinit.target" || u == "basic.target" })
			case section == "[Unit]" && key == "After":
				p["After"] = append(slices.Clone(p["After"].([]string)), strings.Fields(value)...)
			case section != "[Service]":
			case key == "Type":
				p["Type"] = value
			case key == "NotifyAccess" && value != "": // the empty one is ignored
				access = value
			case key == "FileDescriptorStoreMax":
				if storeMax, err = strconv.ParseUint(value, 10, 32); err != nil {
					return nil, err
				}
			case key == "ExecStartPre" && value == "":
				pre = nil
			case key == "ExecStartPre":
				pre = append(pre, value)
			}
		}
	}
	// service_add_extras() of systemd's src/core/service.c.
	if access == "none" && (storeMax > 0 || p["Type"] == "notify") {
		access = "main"
	}
	p["NotifyAccess"], p["FileDescriptorStoreMax"], p["ExecStartPre"] = access, uint32(storeMax), pre
	return p, nil
}

// enable runs it with args, and returns the outcome and the drop-in.
func (h *host) enable(args ...string) (outcome, string, error) {
	h.t.Helper()
	cmd := &cobra.Command{}
	p := participationFlags(cmd)
	if err := cmd.ParseFlags(args); err != nil {
		h.t.Fatal(err)
	}
	facts, err := factsOf(h.t.Context(), h, hostUnit)
	if err != nil {
		h.t.Fatal(err)
	}
	r, err := enableUnit(h.root, hostUnit, *p, cmd.Flags().Changed, facts, false)
	text, _ := os.ReadFile(filepath.Join(h.root, dropInPath(hostUnit)))
	return r, string(text), err
}

func (h *host) disable() {
	h.t.Helper()
	facts, err := factsOf(h.t.Context(), h, hostUnit)
	if err != nil {
		h.t.Fatal(err)
	}
	if r, err := disableUnit(h.root, hostUnit, facts, false, false); err != nil || !r.Changed {
		h.t.Fatalf("%+v, %v", r, err)
	}
}

// gives says why luod-reissue could give the unit nothing back, as PID 1 is now.
func (h *host) gives() error {
	p, err := h.GetAllPropertiesContext(h.t.Context(), hostUnit)
	if err != nil {
		return err
	}
	if access := p["NotifyAccess"]; access != "exec" && access != "all" {
		return fmt.Errorf("NotifyAccess=%s", access)
	}
	if p["FileDescriptorStoreMax"] == uint32(0) || len(p["ExecStartPre"].([]string)) == 0 {
		return fmt.Errorf("FileDescriptorStoreMax=%d, ExecStartPre=%q", p["FileDescriptorStoreMax"], p["ExecStartPre"])
	}
	return nil
}

const xUnit = "[Unit]\nDescription=x\n[Service]\nExecStart=/x\nFileDescriptorStoreMax=8\n"

func TestEnableWritesTheSameHoweverOftenItRuns(t *testing.T) {
	units := map[string]map[string]string{
		"no access":          {"x.service": xUnit},
		"a notifying one":    {"x.service": xUnit + "Type=notify\n"},
		"access for all":     {"x.service": xUnit + "NotifyAccess=all\n"},
		"and for main":       {"x.service": xUnit + "NotifyAccess=all\nNotifyAccess=main\n"},
		"for all, then ''":   {"x.service": xUnit + "NotifyAccess=all\nNotifyAccess=\n"},
		"by a drop-in":       {"x.service": xUnit, "x.service.d/10-a.conf": "[Service]\nNotifyAccess=all\nFileDescriptorStoreMax=4096\n"},
		"by a later one":     {"x.service": xUnit, "x.service.d/60-a.conf": "[Service]\nNotifyAccess=all\nFileDescriptorStoreMax=4096\n"},
		"a large store":      {"x.service": xUnit + "FileDescriptorStoreMax=4096\nNotifyAccess=exec\n"},
		"commands of its":    {"x.service": xUnit + "ExecStartPre=/y\nNotifyAccess=all\n"},
		"in another section": {"x.service": xUnit + "[X-Other]\nNotifyAccess=all\n"},
	}
	for name, files := range units {
		for _, args := range []string{"", "--early", "--memfd=a:1M --memfd=b:2M", "--fd-store-preserve --timeout=30s --directory=/run/x"} {
			t.Run(name+" "+args, func(t *testing.T) {
				h := newHost(t, files)
				first, warnings := "", []string(nil)
				for i := range 6 {
					again := strings.Fields(args)
					if i%2 == 1 {
						again = nil // what was asked for before still holds
					}
					if i == 4 { // and from the beginning
						h.disable()
					}
					r, text, err := h.enable(again...)
					if err != nil {
						t.Fatal(err)
					}
					if first == "" {
						first, warnings = text, r.Warnings
					}
					if !slices.Equal(r.Warnings, warnings) {
						t.Errorf("run %d warns %q, the first %q", i+1, r.Warnings, warnings)
					}
					if text != first || r.Content != text || r.Changed != (i == 0 || i == 4) {
						t.Fatalf("run %d (changed: %t) wrote\n%sthe first\n%s", i+1, r.Changed, text, first)
					}
					if err := h.gives(); err != nil {
						t.Fatalf("after run %d: %v", i+1, err)
					}
					if hasLink(h.root, hostUnit) != (args == "--early") {
						t.Errorf("after run %d the link for an early start: %t", i+1, args != "--early")
					}
				}
			})
		}
	}
}

func TestEnableKeepsWhatIsNotNamedAgain(t *testing.T) {
	type run struct {
		args []string
		kept string
		// has and not are lines of the drop-in.
		has, not []string
	}
	all := []string{"--early", "--timeout=1min 30s", "--on-failure=ignore", "--verify=sha256", "--after=b.service,c.service", "--before=d.service", "--alias=old.service", "--memfd=a:1M", "--memfd=b:2M",
		"--directory=/run/x", "--directory=/run/y", "--recreate=files,sockets", "--fd-store-preserve"}
	for name, runs := range map[string][]run{
		"nothing before": {{}, {}},
		"all of them": {{args: all}, {
			kept: "'--timeout=1min 30s' --on-failure=ignore --verify=sha256 --after=b.service,c.service --before=d.service --alias=old.service --memfd=a:1M --memfd=b:2M --directory=/run/x --directory=/run/y --recreate=files,sockets --fd-store-preserve --early",
			has:  []string{"TimeoutSec=1min 30s", "OnFailure=ignore", "Verify=sha256", "After=b.service c.service", "Before=d.service", "Aliases=old.service", "Directories=/run/x /run/y", "Recreate=files sockets", "FileDescriptorStorePreserve=yes", "DefaultDependencies=no", "ExecStartPre=+/usr/lib/luod/luod-reissue --memfd=a:1M --memfd=b:2M"},
		}},
		"one later": {{args: []string{"--timeout=30s"}}, {args: []string{"--early"}, kept: "--timeout=30s", has: []string{"TimeoutSec=30s", "DefaultDependencies=no"}},
			{args: []string{"--memfd=a:1M"}, kept: "--timeout=30s --early", has: []string{"TimeoutSec=30s", "DefaultDependencies=no"}}},
		"replaced": {{args: []string{"--memfd=a:1M", "--after=b.service", "--timeout=30s"}}, {args: []string{"--memfd=c:1M", "--after=d.service", "--timeout=40s"},
			has: []string{"TimeoutSec=40s", "After=d.service", "ExecStartPre=+/usr/lib/luod/luod-reissue --memfd=c:1M"}}},
		"taken back": {{args: all}, {args: []string{"--early=false", "--timeout=", "--on-failure=", "--verify=", "--after=", "--before=", "--alias=", "--memfd=", "--directory=", "--recreate=", "--fd-store-preserve=false"},
			has: []string{"Preserve=fdstore", "ExecStartPre=+/usr/lib/luod/luod-reissue"}, not: []string{"TimeoutSec", "OnFailure", "Verify", "b.service", "Before", "Aliases", "Directories", "Recreate", "StorePreserve", "DefaultDependencies", "--memfd", "RuntimeDirectoryPreserve"}}},
		"another way": {{args: []string{"--preserve=dbus"}}, {kept: "--preserve=dbus", has: []string{"Preserve=dbus"}, not: []string{"ExecStartPre"}},
			{args: []string{"--preserve="}, has: []string{"Preserve=fdstore", "ExecStartPre=+/usr/lib/luod/luod-reissue"}}},
		"both ways": {{args: []string{"--preserve=fdstore dbus"}, has: []string{"Preserve=fdstore dbus", "ExecStartPre=+/usr/lib/luod/luod-reissue"}}, {kept: "'--preserve=fdstore dbus'", has: []string{"Preserve=fdstore dbus"}}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, map[string]string{"x.service": xUnit})
			for i, run := range runs {
				r, text, err := h.enable(run.args...)
				if err != nil {
					t.Fatal(err)
				}
				if got := quoted(r.Kept); got != run.kept {
					t.Errorf("run %d kept %q, want %q", i+1, got, run.kept)
				}
				if said := r.text(); strings.Contains(said, "Kept from before: "+run.kept+".\n") != (run.kept != "") {
					t.Errorf("run %d said %q", i+1, said)
				}
				lines := strings.Split(text, "\n")
				for _, line := range run.has {
					if !slices.Contains(lines, line) {
						t.Errorf("run %d: %q is not in\n%s", i+1, line, text)
					}
				}
				for _, word := range run.not {
					if strings.Contains(text, word) {
						t.Errorf("run %d: %q is in\n%s", i+1, word, text)
					}
				}
				early := strings.Contains(text, "DefaultDependencies=no")
				if hasLink(h.root, hostUnit) != early {
					t.Errorf("run %d: early is %t, and the link is otherwise", i+1, early)
				}
			}
		})
	}
}

// An option that is kept may not go with one that is given.
func TestEnableRefusesWhatDoesNotGoWithWhatIsKept(t *testing.T) {
	h := newHost(t, map[string]string{"x.service": xUnit})
	if _, _, err := h.enable("--memfd=a:1M", "--early"); err != nil {
		t.Fatal(err)
	}
	_, text, err := h.enable("--preserve=dbus")
	if err == nil || !strings.Contains(err.Error(), "kept from before: --memfd=a:1M --early (") || !strings.Contains(text, "Preserve=fdstore\n") {
		t.Errorf("%v\n%s", err, text)
	}
	if _, text, err = h.enable("--preserve=dbus", "--memfd=", "--early=false"); err != nil || !strings.Contains(text, "Preserve=dbus\n") {
		t.Errorf("%v\n%s", err, text)
	}
}

// Versions of luoctl before this one took NotifyAccess=exec out when they ran again.
func TestEnableRepairsADropInWithoutNotifyAccess(t *testing.T) {
	h := newHost(t, map[string]string{"x.service": xUnit})
	first, fresh, err := h.enable("--memfd=a:1M", "--timeout=30s", "--early")
	if err != nil {
		t.Fatal(err)
	}
	broken := strings.Replace(fresh, "NotifyAccess=exec\n", "", 1)
	if err := replaceFile(filepath.Join(h.root, dropInPath(hostUnit)), broken); err != nil {
		t.Fatal(err)
	}
	if h.gives() == nil {
		t.Fatal("it isn't broken")
	}
	if r, text, err := h.enable(); err != nil || text != fresh || !r.Changed || !slices.Equal(r.Warnings, first.Warnings) {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestEnableMakesALinkThatIsMissing(t *testing.T) {
	h := newHost(t, map[string]string{"x.service": xUnit})
	if _, _, err := h.enable("--early"); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(h.root, earlyDir, hostUnit)); err != nil {
		t.Fatal(err)
	}
	if r, _, err := h.enable(); err != nil || !r.Changed || !hasLink(h.root, hostUnit) {
		t.Errorf("%+v, %v", r, err)
	}
	// One that was not enable's stays.
	h.disable()
	if err := linkEarly(h.root, hostUnit, true); err != nil {
		t.Fatal(err)
	}
	if r, _, err := h.enable("--timeout=1s"); err != nil || !r.Changed || !hasLink(h.root, hostUnit) {
		t.Errorf("%+v, %v", r, err)
	}
	if r, _, err := h.enable("--early=false"); err != nil || !r.Changed || hasLink(h.root, hostUnit) {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestEnableRefusesWhatALaterDropInUndoes(t *testing.T) {
	for text, undone := range map[string]bool{
		"NotifyAccess=main\n": true, "NotifyAccess=all\n": false, "NotifyAccess=main\nNotifyAccess=exec\n": false, "NotifyAccess=\n": false,
		"FileDescriptorStoreMax=0\n": true, "FileDescriptorStoreMax=9\n": false, "ExecStartPre=/y\n": false, "ExecStartPre=\nExecStartPre=/y\n": true,
		"ExecStartPre=\nExecStartPre=+/usr/lib/luod/luod-reissue\n": false,
	} {
		h := newHost(t, map[string]string{"x.service": xUnit, "x.service.d/60-a.conf": "[Service]\n" + text})
		_, written, err := h.enable("--preserve=fdstore")
		if (err != nil) != undone || err != nil && !strings.Contains(err.Error(), "60-a.conf says "+strings.TrimSpace(strings.SplitAfter(text, "\n")[0])) {
			t.Errorf("%q: %v", text, err)
		}
		if (written == "") != undone {
			t.Errorf("%q: it wrote %q", text, written)
		}
		if !undone && h.gives() != nil {
			t.Errorf("%q: %v", text, h.gives())
		}
		if _, _, err := h.enable("--preserve=dbus"); err != nil {
			t.Errorf("%q: with D-Bus: %v", text, err)
		}
	}
}

func TestEnableSaysWhatItDrops(t *testing.T) {
	h := newHost(t, map[string]string{"x.service": xUnit})
	_, text, err := h.enable("--memfd=a:1M")
	if err != nil {
		t.Fatal(err)
	}
	text = strings.Replace(text, "luod-reissue", "luod-reissue --optional", 1)
	text = strings.Replace(text, "StoreMax=512", "StoreMax=5000", 1) + "LimitNOFILE=9\n"
	if err := replaceFile(filepath.Join(h.root, dropInPath(hostUnit)), text); err != nil {
		t.Fatal(err)
	}
	r, text, err := h.enable()
	if err != nil {
		t.Fatal(err)
	}
	said := r.text()
	for _, want := range []string{"ExecStartPre=+/usr/lib/luod/luod-reissue --optional --memfd=a:1M", "LimitNOFILE=9", "Kept from before: --memfd=a:1M."} {
		if !strings.Contains(said, want) {
			t.Errorf("%q is not in %q", want, said)
		}
	}
	// The store may hold as many.
	if strings.Contains(text, "LimitNOFILE") || !strings.Contains(text, "FileDescriptorStoreMax=5000\n") {
		t.Error(text)
	}
}

func TestAssignments(t *testing.T) {
	text := "\ufeff# c\n[A]\n x = 1 \n; d\ny=2 \\\n# in between\n  3\\\\\nz=\n[B]\nnonsense\nx=4 \\"
	want := []assignment{{"A", "x", "1"}, {"A", "y", `2  3\\`}, {"A", "z", ""}, {"B", "x", "4"}}
	if got := assignments(text); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}
