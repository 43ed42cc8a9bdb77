package vmtest

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/liveupdate/luod/vmtest/lab"
	"github.com/liveupdate/luod/vmtest/machine"
)

// reissued is a service with a drop-in as luoctl enable writes it, and %OPTION%.
const reissued = `[Unit]
Description=Service that luod would give its memory back
Wants=luod.service
After=luod.service

[Service]
Type=oneshot
RemainAfterExit=yes
NotifyAccess=exec
FileDescriptorStoreMax=8
ExecStartPre=+/usr/lib/luod/luod-reissue %OPTION%
ExecStart=/bin/true

[Install]
WantedBy=multi-user.target

[X-LiveUpdate]
Preserve=fdstore
`

// ownUnits are enabled in the image: they start at the boot itself, each by another way
// of asking luod.
var ownUnits = []string{"keeper@1.service", "plain.service", "reissued.service", "optional.service"}

// On a kernel that has no live updates luod does no harm: Debian 12's own is older than
// several things that luod asks a kernel, among them which process is behind a socket,
// and its bus is old as well. What is enabled starts, at the boot and again.
func TestDebian12sOwnKernel(t *testing.T) {
	repeats(t)
	files := []lab.File{
		{Path: "/etc/systemd/system/reissued.service", Mode: 0o644, Data: []byte(strings.ReplaceAll(reissued, "%OPTION%", ""))},
		{Path: "/etc/systemd/system/optional.service", Mode: 0o644, Data: []byte(strings.ReplaceAll(reissued, "%OPTION%", "--optional"))},
	}
	r, err := partsFor(t).StartOnOwnKernel(t.Context(), lab.Bookworm, machine.Config{
		Name: t.Name(), ConsoleLog: filepath.Join(t.ArtifactDir(), "console.log"),
	}, files, ownUnits...)
	check(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the console's end:\n%s", r.ConsoleTail(60))
		}
		r.Close()
	})
	if !strings.HasPrefix(r.Boot.Kernel, "6.1.") {
		t.Fatalf("the kernel is %s", r.Boot.Kernel)
	}
	all := strings.Join(append([]string{"luod.service"}, ownUnits...), " ")
	// They may still be starting: the agent waits for luod and the bus only.
	up := func() {
		t.Helper()
		r.Sh(t, `for unit in `+all+`; do
  for i in $(seq 600); do case $(systemctl is-active $unit) in active|failed) break;; esac; sleep 0.1; done
  systemctl is-active -q $unit || { journalctl -b --no-pager -u $unit -u luod.service | tail -n 40; systemctl status --no-pager $unit; exit 1; }
done
[ "$(systemctl show -P NRestarts luod.service)" = 0 ]`)
	}
	up()
	memory := func() {
		t.Helper()
		for unit, report := range must(r.Reports(t.Context(), 2))(t) {
			if !report.Fresh || len(report.Files) == 0 {
				t.Errorf("%s: %+v", unit, report)
			}
			for name, fact := range report.Files {
				if !fact.Expected {
					t.Errorf("%s has something else in %s", unit, name)
				}
			}
		}
	}
	memory()
	r.Sh(t, "journalctl -b --no-pager -u keeper@1.service | grep -q 'going on without live updates'")
	// Again, with another luod, and what luoctl itself enables.
	r.Sh(t, "rm /run/keeper/keeper@1.service.json; systemctl restart luod.service; systemctl restart "+strings.Join(ownUnits, " "))
	up()
	memoryAgain := must(r.Reports(t.Context(), 2))(t)["keeper@1.service"]
	if !memoryAgain.Fresh {
		t.Errorf("luod has kept something where it can't: %+v", memoryAgain)
	}
	r.Sh(t, "luoctl enable store-c; systemctl start store-c; systemctl is-active -q store-c; systemctl restart store-c; systemctl is-active -q store-c")
	// luod says what is the matter, and to whom it can.
	for _, c := range []struct{ script, want string }{
		{"luoctl status", "is older than Linux 6.19"},
		{"luoctl live-update", "no live update is possible"},
		{"systemd-run -q -G --wait --pipe " + manager + "Retrieve as 0", "a(sh) 0"},
		{"systemd-run -q -G --wait --pipe " + manager + "ListNames", "a(ss) 0"},
		{"systemd-run -q -G --wait --pipe " + manager + "Preserve 'a(sh)a{sv}' 0 0", "can't have anything preserved"},
		{"systemd-run -q -G --scope " + manager + "ListNames", "not a process of a system service"},
	} {
		if text := r.Sh(t, "("+c.script+") 2>&1 || true"); !strings.Contains(text, c.want) {
			t.Errorf("%s: %q does not have %q", c.script, text, c.want)
		}
	}
	if s := must(r.Status(t.Context()))(t); s.Phase != "idle" || s.FileDescriptors != 0 || s.LastError != "" || s.Degraded != "" || len(s.Lost) != 0 {
		t.Errorf("%+v", s)
	}
}
