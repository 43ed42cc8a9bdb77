package vmtest

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/liveupdate/luod/vmtest/machine"
	"github.com/liveupdate/luod/vmtest/rig"
)

// checked is what luoctl check --json says.
type checked struct {
	Release     string
	CommandLine string
	Digest      string
	Initrds     []string
	Checks      []struct{ Name, Verdict, Reason, Remedy string }
}

// with returns the names of the checks with a verdict.
func (c checked) with(verdict string) []string {
	names := []string{}
	for _, r := range c.Checks {
		if r.Verdict == verdict {
			names = append(names, r.Name)
		}
	}
	return names
}

func runCheck(t *testing.T, r *rig.Rig, arguments string) checked {
	t.Helper()
	var c checked
	text := r.Sh(t, "luoctl check --json "+arguments+" || true")
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		t.Fatalf("luoctl check %s: %v: %q", arguments, err, text)
	}
	return c
}

func TestAnyBootEntryIsCheckedAndBooted(t *testing.T) {
	parts := partsFor(t)
	r, err := parts.StartWithBootEntries(t.Context(), machine.Config{
		Name: t.Name(), Kernel: parts.Older, ConsoleLog: filepath.Join(t.ArtifactDir(), "console.log"),
	})
	check(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the console's end:\n%s", r.ConsoleTail(60))
		}
		r.Close()
	})
	enable(t, r, 1)
	before := must(r.Reports(t.Context(), 1))(t)
	stock := strings.TrimSpace(r.Sh(t, "cd /boot; ls -d vmlinuz-*cloud*"))

	t.Run("entries are found", func(t *testing.T) {
		var entries []struct {
			ID, Kind string
			Default  bool
			Initrds  []string
		}
		if err := json.Unmarshal([]byte(r.Sh(t, "luoctl list-entries --json")), &entries); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range entries {
			got = append(got, e.Kind+" "+e.ID)
		}
		for _, want := range []string{"type1 lab-newer.conf", "type2 lab-older.efi", "type2 lab-newer.efi", "plain " + stock, "plain vmlinuz-" + r.Parts.Older.Release} {
			if !slices.Contains(got, want) {
				t.Errorf("%q is missing in %q", want, got)
			}
		}
		// As `bootctl list` marks it.
		chosen := r.Sh(t, "mount --bind /boot /boot; SYSTEMD_RELAX_ESP_CHECKS=1 bootctl --esp-path=/boot --json=short list; umount /boot")
		var theirs []struct {
			ID        string `json:"id"`
			IsDefault bool   `json:"isDefault"`
		}
		if err := json.Unmarshal([]byte(chosen), &theirs); err != nil {
			t.Fatalf("%v: %s", err, chosen)
		}
		for _, their := range theirs {
			for _, e := range entries {
				if e.ID == their.ID && e.Default != their.IsDefault {
					t.Errorf("%s: default %v, and bootctl says %v", e.ID, e.Default, their.IsDefault)
				}
			}
		}
	})

	t.Run("a good kernel passes", func(t *testing.T) {
		for _, entry := range []string{"lab-newer.conf", "lab-older.efi", "lab-newer.efi", "/boot/vmlinuz-" + r.Parts.Newer.Release, "vmlinuz-" + r.Parts.Older.Release} {
			c := runCheck(t, r, entry)
			if fails, warns := c.with("fail"), c.with("warn"); len(fails)+len(warns) > 0 || len(c.Checks) < 12 {
				t.Errorf("%s: %+v", entry, c)
			}
			if !strings.Contains(c.CommandLine, " kho=on liveupdate=on luod.generation=1") || !strings.Contains(c.CommandLine, "root=/dev/vda") {
				t.Errorf("%s: command line %q", entry, c.CommandLine)
			}
		}
	})

	t.Run("Debian's own kernel fails for two reasons", func(t *testing.T) {
		c := runCheck(t, r, stock)
		if got := c.with("fail"); !slices.Equal(got, []string{"kernel-config", "handover-format"}) {
			t.Errorf("failed: %v of %+v", got, c)
		}
		for _, result := range c.Checks {
			if result.Name == "kernel-config" && !strings.Contains(result.Reason, "without CONFIG_LIVEUPDATE, CONFIG_KEXEC_HANDOVER, CONFIG_LIVEUPDATE_MEMFD") {
				t.Errorf("%+v", result)
			}
		}
	})

	t.Run("what is wrong is named", func(t *testing.T) {
		newer := "/boot/vmlinuz-" + r.Parts.Newer.Release
		for name, c := range map[string]struct{ before, arguments, after string }{
			"handover-format": {"", rig.OtherFormatKernel, ""},
			"kernel-image":    {"head -c 3000000 " + newer + " > /boot/luod-test/half", "/boot/luod-test/half", ""},
			"root-device":     {"", "--command-line 'root=/dev/vdz' " + newer, ""},
			"command-line":    {"", "--command-line \"$(printf 'x%.0s' $(seq 3000))\" " + newer, ""},
			"initrd":          {"echo nonsense > /boot/luod-test/i", "--initrd /boot/luod-test/i " + newer, ""},
			"luod-after-jump": {"systemctl disable luod.service 2>&1", newer, "systemctl enable luod.service 2>&1"},
			"modules":         {"mv /usr/lib/modules/*cloud* /root/", stock, "mv /root/*cloud* /usr/lib/modules/"},
			"memory":          {"", "--initrd /boot/luod-test/large " + newer, ""},
		} {
			if name == "memory" {
				c.before = "truncate -s 600M /boot/luod-test/large"
			}
			if c.before != "" {
				r.Sh(t, c.before)
			}
			report := runCheck(t, r, c.arguments)
			if c.after != "" {
				r.Sh(t, c.after)
			}
			if !slices.Contains(report.with("fail"), name) {
				t.Errorf("%s did not fail: %+v", name, report)
			}
			for _, result := range report.Checks {
				if result.Name == name && (result.Reason == "" || result.Remedy == "") {
					t.Errorf("%s: no reason or no remedy: %+v", name, result)
				}
			}
		}
	})

	t.Run("a refused update leaves everything as it was", func(t *testing.T) {
		state := func() string {
			return r.Sh(t, "systemctl show -P MainPID keeper@1.service luod.service; luoctl list --json; cat /sys/kernel/kexec_loaded; systemctl list-jobs --no-legend")
		}
		r.Sh(t, "luoctl load lab-newer.conf")
		was := state()
		for what, c := range map[string]struct{ script, want string }{
			"another format":      {"luoctl live-update " + rig.OtherFormatKernel, "handover-format"},
			"an unknown entry":    {"luoctl live-update nothing-of-the-kind", "lab-newer.conf"},
			"an unknown check":    {"luoctl live-update --force=everything", "is no check"},
			"a changed initrd":    {"cp -a /boot/initrd.img-" + r.Parts.Newer.Release + " /root/i; echo >> /boot/initrd.img-" + r.Parts.Newer.Release + "; luoctl live-update; s=$?; mv /root/i /boot/initrd.img-" + r.Parts.Newer.Release + "; (exit $s)", "no longer what was loaded"},
			"luod not enabled":    {"systemctl disable -q luod.service; luoctl live-update; s=$?; systemctl enable -q luod.service; (exit $s)", "luod-after-jump"},
			"a dry run of it all": {"systemctl disable -q luod.service; luoctl live-update --dry-run; s=$?; systemctl enable -q luod.service; (exit $s)", "luod-after-jump"},
		} {
			res, err := r.Run(t.Context(), c.script)
			check(t, err)
			if res.Code == 0 || !strings.Contains(res.Stderr, c.want) {
				t.Errorf("%s: exit code %d: %s, want %q", what, res.Code, res.Stderr, c.want)
			}
			if now := state(); now != was {
				t.Errorf("%s: now\n%s\nwas\n%s", what, now, was)
			}
		}
		if out := r.Sh(t, "luoctl live-update --dry-run"); !strings.Contains(out, "Ready for live update 1") {
			t.Errorf("a good dry run: %q", out)
		}
		if now := state(); now != was {
			t.Errorf("after a dry run: now\n%s\nwas\n%s", now, was)
		}
	})

	type jump struct {
		entry  string
		newer  bool
		initrd bool
	}
	jumps := []jump{{"lab-newer.conf", true, true}, {"lab-older.efi", false, false}}
	if everything() {
		jumps = append(jumps, jump{"lab-newer.efi", true, true})
	}
	for i, jump := range jumps {
		t.Run("an update through "+jump.entry, func(t *testing.T) {
			kernel := r.Parts.Older
			if jump.newer {
				kernel = r.Parts.Newer
			}
			check(t, r.Jump(t.Context(), kernel, "luoctl live-update "+jump.entry))
			same(t, before, must(r.Reports(t.Context(), 1))(t))
			settled(t, r, uint64(i+1))
			if n := strings.TrimSpace(r.Sh(t, "dmesg | grep -c 'Freeing initrd memory' || true")); (n != "0") != jump.initrd {
				t.Errorf("the kernel freed %s initrds", n)
			}
		})
	}
}
