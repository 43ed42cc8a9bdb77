package vmtest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/liveupdate/luod/vmtest/lab"
	"github.com/liveupdate/luod/vmtest/machine"
	"github.com/liveupdate/luod/vmtest/rig"
)

// startDracut boots suite by dracut's initrd. The function tells how often a shutdown
// has gone back into one, whose script tells the kernel log when it finds luod.
func startDracut(t *testing.T, suite lab.Suite) (r *rig.Rig, returned func() int) {
	t.Helper()
	parts := partsFor(t)
	console := filepath.Join(t.ArtifactDir(), "console.log")
	r, err := parts.StartWithDracut(t.Context(), suite, machine.Config{Name: t.Name(), Kernel: parts.Older, ConsoleLog: console})
	check(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the console's end:\n%s", r.ConsoleTail(60))
		}
		r.Close()
	})
	return r, func() int {
		t.Helper()
		text := must(os.ReadFile(console))(t)
		return strings.Count(string(text), "] dracut Warning: Killed remaining processes using /oldroot")
	}
}

// bootedByDracut checks that the boot came through dracut's initrd, and that the
// shutdown will go back there: dracut unpacks it only then.
func bootedByDracut(t *testing.T, r *rig.Rig) {
	t.Helper()
	r.Sh(t, `[ "$(systemctl show -P InitRDTimestampMonotonic)" != 0 ] &&
systemctl is-active -q dracut-shutdown.service && test -e /run/initramfs/.need_shutdown && ! test -e /run/initramfs/shutdown`)
}

// Where the initrd takes the shutdown back it kills luod, and PID 1 alone holds the
// sessions until the jump, which dracut's script makes. Without that the next initrd's
// PID 1 takes them over before the one that has luod. Neither costs a byte.
func TestShutdownsIntoDracutsInitrd(t *testing.T) {
	repeats(t)
	r, returned := startDracut(t, lab.Sid)
	enable(t, r, 2)
	r.Sh(t, "luoctl enable "+storeUnits+"; systemctl enable -q --now "+storeUnits)
	before, stores := must(r.Reports(t.Context(), 2))(t), states(t, r)
	want := 0
	for i, kernel := range []lab.Kernel{r.Parts.Newer, r.Parts.Older, r.Parts.Newer} {
		bootedByDracut(t, r)
		if i < 2 {
			want++
		} else {
			r.Sh(t, "rm /run/initramfs/.need_shutdown")
		}
		check(t, r.Update(t.Context(), kernel))
		same(t, before, must(r.Reports(t.Context(), 2))(t))
		if now := states(t, r); now != stores {
			t.Fatalf("after update %d: %q, want %q", i+1, now, stores)
		}
		settled(t, r, uint64(i+1))
		if n := returned(); n != want {
			t.Errorf("after update %d: %d shutdowns returned into the initrd, not %d", i+1, n, want)
		}
	}
	bootedByDracut(t, r)
}

// Before systemd 261 nobody would hold the sessions there, which is said before
// anything stops. A fast update does not go back there.
func TestAShutdownIntoDracutsInitrdIsRefusedWhereLuodMustOutliveIt(t *testing.T) {
	repeats(t)
	r, returned := startDracut(t, lab.Trixie)
	enable(t, r, 1)
	before := must(r.Reports(t.Context(), 1))(t)
	bootedByDracut(t, r)
	const pid = "systemctl show -P MainPID keeper@1"
	running := r.Sh(t, pid)
	check(t, r.Load(t.Context(), r.Parts.Newer))
	refusedUpdate(t, r, "luoctl live-update", "the shutdown would return into the initrd (/run/initramfs) and kill luod")
	if now := r.Sh(t, pid); now != running {
		t.Fatalf("after the refusal the service runs as %q and ran as %q", now, running)
	}
	check(t, r.Jump(t.Context(), r.Parts.Newer, "luoctl live-update --fast"))
	same(t, before, must(r.Reports(t.Context(), 1))(t))
	settled(t, r, 1)
	// Nothing is to be taken apart by an initrd that does not ask for it.
	r.Sh(t, "rm /run/initramfs/.need_shutdown")
	check(t, r.Update(t.Context(), r.Parts.Older))
	same(t, before, must(r.Reports(t.Context(), 1))(t))
	settled(t, r, 2)
	if n := returned(); n != 0 {
		t.Fatalf("%d shutdowns returned into the initrd", n)
	}
}
