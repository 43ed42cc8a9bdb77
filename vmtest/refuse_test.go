package vmtest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/liveupdate/luod/vmtest/lab"
	"github.com/liveupdate/luod/vmtest/machine"
)

// Everything in one machine, since none of it may change anything.
func TestBadInputGetsAClearErrorAndChangesNothing(t *testing.T) {
	r := start(t, lab.Trixie, false, 0)
	enable(t, r, 1)
	before := must(r.Reports(t.Context(), 1))(t)
	held := r.Sh(t, "luoctl list --json")
	poke := func(args string) string {
		return "systemd-run -q --wait --pipe --collect /usr/lib/luod-lab/poke " + args
	}
	alice := func(command string) string {
		return fmt.Sprintf("runuser -u alice -- %s 2>&1 || true", command)
	}
	for _, c := range []struct {
		what, script, want string
	}{
		{"a pipe", poke("--what memfd,pipe"), "Error.UnsupportedFile file descriptor 1 of the call (\"poke-1\") can't be preserved: it is a pipe, and this kernel preserves only memfds"},
		{"a socket", poke("--what socket"), "it is a socket"},
		{"an eventfd", poke("--what eventfd"), "it is an eventfd"},
		{"a file", poke("--what file"), "it is a file on a file system"},
		{"a hugetlb memfd", poke("--what hugetlb"), "MFD_HUGETLB"},
		{"the same file twice", poke("--what memfd,same"), "Error.FileInUse"},
		{"the same name twice", poke("--what memfd,memfd --names 'a|a'"), "Error.NameInUse"},
		{"an empty name", poke("--names '|' --what memfd,memfd"), "Error.InvalidName"},
		{"a long name", poke("--names $(printf 'x%.0s' $(seq 300))"), "Error.InvalidName the name of a file descriptor has 300 bytes"},
		{"a name with a colon", poke("--names a:b"), "Error.InvalidName"},
		{"a name with a newline", poke(`--names "$(printf 'a\nb')"`), "Error.InvalidName"},
		{"too many", poke("--count 1100"), "1101 files in one call are too many"},
		{"no unit", "systemd-run -q --scope /usr/lib/luod-lab/poke 2>&1", "Error.NoUnit"},
		{"no kernel loaded", "luoctl live-update --dry-run 2>&1 || true", "no kernel is loaded; load one with 'luoctl load'"},
		{"no such kernel", "luoctl load /boot/nothing 2>&1 || true", "no such file"},
		{"a kernel that is none", "luoctl load /etc/os-release 2>&1 || true", "is not a kernel image"},
		{"a directory for a kernel", "luoctl load /boot 2>&1 || true", "is a directory"},
		{"an unprivileged update", alice("luoctl live-update --no-ask-password"), "permission denied"},
		{"an unprivileged load", alice("luoctl load --no-ask-password /boot/vmlinuz-" + r.Parts.Newer.Release), "permission denied"},
		{"an unprivileged check", alice("luoctl check --no-ask-password /etc/shadow"), "permission denied"},
		{"an unprivileged look at boot entries", alice("luoctl list-entries --no-ask-password"), "permission denied"},
		{"an unprivileged list", alice("luoctl list --no-ask-password"), "permission denied"},
		{"the socket", alice("python3 -c \"import socket; socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET).connect('/run/luod/luod.sock')\""), "Permission"},
		{"another's files", "systemd-run -q --scope busctl call org.luod.LiveUpdate1 /org/luod/LiveUpdate1 org.luod.LiveUpdate1.Manager Retrieve as 1 page 2>&1 || true", "not a process of a system service"},
		{"another's files from a service", "systemd-run -q --wait --pipe --collect busctl call org.luod.LiveUpdate1 /org/luod/LiveUpdate1 org.luod.LiveUpdate1.Manager Retrieve as 1 page 2>&1 || true", "has no file descriptor \"page\" preserved"},
		{"luod without a manager", "/usr/lib/luod/luod 2>&1 || true", "systemctl start luod.service"},
		{"the helper without a unit", "/usr/lib/luod/luod-reissue 2>&1 || true", "ExecStartPre="},
		{"an unknown verb", "luoctl explode 2>&1 || true", "unknown command"},
	} {
		res, err := r.Run(t.Context(), c.script)
		if err != nil {
			t.Fatal(err)
		}
		if out := res.Stdout + res.Stderr; !strings.Contains(out, c.want) {
			t.Errorf("%s: got %q, want %q in it", c.what, out, c.want)
		}
	}
	r.Sh(t, "for i in $(seq 20); do [ $(luoctl list --json | grep -c poke) = 0 ] && break; sleep 0.1; done")
	if now := r.Sh(t, "luoctl list --json"); now != held {
		t.Errorf("what is held changed:\n%s\nwas\n%s", now, held)
	}
	// A kernel loaded behind luod's back is refused: nobody knows its command line.
	r.Sh(t, "luoctl load /boot/vmlinuz-"+r.Parts.Newer.Release+" && rm /run/luod/record.json && systemctl restart luod.service")
	if out := r.Sh(t, "luoctl live-update 2>&1 || true"); !strings.Contains(out, "was not loaded by luod") {
		t.Errorf("a foreign kernel: %q", out)
	}
	// Nothing of all that keeps a good update from working.
	r.Sh(t, "rm -r /run/keeper; systemctl restart keeper@1.service")
	same(t, before, must(r.Reports(t.Context(), 1))(t))
	check(t, r.Load(t.Context(), r.Parts.Newer))
	// Somebody's job hands over a memfd of a terabyte that takes nothing, until it is packed.
	if out := r.Sh(t, "systemd-run -q --wait --pipe --collect -p User=alice --unit=job /usr/lib/luod-lab/poke --what terabyte"); !strings.Contains(out, "accepted") {
		t.Errorf("a sparse memfd: %q", out)
	}
	for _, script := range []string{"luoctl live-update --dry-run", "luoctl live-update", "luoctl live-update --fast", "luoctl check"} {
		if out := r.Sh(t, script+" 2>&1 || true"); !strings.Contains(out, "packing what is held takes 1.0 TiB") || !strings.Contains(out, "it is for job.service (1.0 TiB") {
			t.Errorf("%s: %q", script, out)
		}
	}
	if out := r.Sh(t, "systemctl is-active keeper@1.service; luoctl status --json; luoctl discard job.service"); !strings.HasPrefix(out, "active\n") || !strings.Contains(out, `"phase": "idle"`) {
		t.Errorf("afterwards: %q", out)
	}
	check(t, r.Jump(t.Context(), r.Parts.Newer, "systemctl start live-update.target"))
	same(t, before, must(r.Reports(t.Context(), 1))(t))
	settled(t, r, 1)
}

func TestAHostWithoutLiveUpdateGetsAClearAnswer(t *testing.T) {
	parts := partsFor(t)
	r, err := parts.Start(t.Context(), lab.Trixie, machine.Config{Name: t.Name(), Kernel: parts.Older, Append: "liveupdate=off"})
	check(t, err)
	t.Cleanup(func() { r.Close() })
	for script, want := range map[string]string{
		"luoctl":                           "was not booted with liveupdate=on",
		"luoctl live-update 2>&1 || true":  "no live update is possible",
		"systemctl is-active luod.service": "active",
		"systemctl start plain.service; systemctl is-active plain.service": "active",
		"systemd-run -q --wait --pipe --collect /usr/lib/luod-lab/poke":    "Error.NotSupported",
	} {
		if out := r.Sh(t, script); !strings.Contains(out, want) {
			t.Errorf("%q: got %q, want %q in it", script, out, want)
		}
	}
	if n := strings.TrimSpace(r.Sh(t, "systemctl show -P NRestarts luod.service")); n != "0" {
		t.Errorf("luod was restarted %s times", n)
	}
}

func TestABusyDeviceIsSaidToBeBusy(t *testing.T) {
	repeats(t)
	r := start(t, lab.Trixie, false, 0)
	enable(t, r, 1)
	before := must(r.Reports(t.Context(), 1))(t)
	check(t, r.Load(t.Context(), r.Parts.Newer))
	out := r.Sh(t, "exec 9<>/dev/liveupdate; luoctl live-update 2>&1 || true")
	if !strings.Contains(out, "another process has the device open") {
		t.Errorf("got %q", out)
	}
	s := must(r.Status(t.Context()))(t)
	if s.Phase != "idle" || s.FileDescriptors != len(before["keeper@1.service"].Files) {
		t.Errorf("after the refusal: %+v", s)
	}
	walk(t, r, 1, r.Parts.Newer)
}
