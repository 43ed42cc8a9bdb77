package vmtest

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/liveupdate/luod/vmtest/lab"
	"github.com/liveupdate/luod/vmtest/machine"
	"github.com/liveupdate/luod/vmtest/rig"
)

// partsFor says why there can be no virtual machine, or what to make one of.
func partsFor(t *testing.T) *rig.Parts {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a virtual machine")
	}
	if os.Geteuid() != 0 {
		t.Skipf("the VM lab needs root, this is uid %d", os.Geteuid())
	}
	parts, err := rig.Get()
	if err != nil {
		t.Fatal(err)
	}
	return parts
}

// start boots suite with luod on the older kernel, or on the newer.
func start(t *testing.T, suite lab.Suite, newer bool, memory int) *rig.Rig {
	t.Helper()
	parts := partsFor(t)
	kernel := parts.Older
	if newer {
		kernel = parts.Newer
	}
	r, err := parts.Start(t.Context(), suite, machine.Config{
		Name: t.Name(), Kernel: kernel, MemoryMiB: memory, ConsoleLog: filepath.Join(t.ArtifactDir(), "console.log"),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the console's end:\n%s", r.ConsoleTail(60))
		}
		r.Close()
	})
	return r
}

func must[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// everyKind is a set of files of each kind that is different to preserve.
const everyKind = "empty:0,byte:1,page:4096,odd:12345:moved,sealed:65536:sealed,immutable:100000:immutable,sparse:1048576:sparse,readonly:5000:readonly,noexec:300000:noexec,hardened:50000:hardened,private:6000:private"

// enable starts n instances of keeper, with everyKind of file each and one of
// 100 MiB more in the first.
func enable(t *testing.T, r *rig.Rig, n int) {
	t.Helper()
	r.Sh(t, fmt.Sprintf(`mkdir -p /etc/keeper
for i in $(seq %d); do echo KEEPER_FILES=%s > /etc/keeper/$i; done
echo KEEPER_FILES=%s,large:104857600 > /etc/keeper/1
systemctl enable -q $(seq -f 'keeper@%%g.service' %d)
systemctl start --no-block $(seq -f 'keeper@%%g.service' %d)`, n, everyKind, everyKind, n, n))
}

// same compares everything that services said before and after an update.
func same(t *testing.T, before, after map[string]rig.Report) (files int) {
	t.Helper()
	for _, unit := range slices.Sorted(maps.Keys(before)) {
		b, a := before[unit], after[unit]
		if a.Fresh {
			t.Errorf("%s began anew", unit)
			continue
		}
		if len(a.Files) != len(b.Files) {
			t.Errorf("%s has %d files instead of %d", unit, len(a.Files), len(b.Files))
		}
		for name, f := range b.Files {
			files++
			if got := a.Files[name]; got != f {
				t.Errorf("%s: %q is %+v and was %+v", unit, name, got, f)
			}
			if !f.Expected || !a.Files[name].Expected {
				t.Errorf("%s: %q is not what this unit put into it", unit, name)
			}
		}
	}
	return files
}

// settled waits until luod says that the update is complete, and checks that
// nothing was lost.
func settled(t *testing.T, r *rig.Rig, generation uint64) rig.Status {
	t.Helper()
	var s rig.Status
	for range 100 {
		s = must(r.Status(t.Context()))(t)
		if s.Phase == "idle" && len(s.Waiting) == 0 {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if s.Phase != "idle" || s.Generation != generation || len(s.Lost) != 0 || s.Degraded != "" || s.Warning != "" || s.LastError != "" {
		t.Fatalf("luod is not settled in generation %d: %+v", generation, s)
	}
	// Sessions are gone from the fd store, and only what is held is in it.
	entries := r.Sh(t, "systemctl show -P NFileDescriptorStore luod.service; ls -l /proc/$(systemctl show -P MainPID luod.service)/fd | grep -c luo_session || true")
	if lines := strings.Fields(entries); len(lines) != 2 || lines[1] != "0" {
		t.Errorf("luod still has sessions open: %q", entries)
	}
	return s
}

// walk updates through kernels and compares after each.
func walk(t *testing.T, r *rig.Rig, services int, kernels ...lab.Kernel) {
	t.Helper()
	before := must(r.Reports(t.Context(), services))(t)
	for i, kernel := range kernels {
		began := time.Now()
		check(t, r.Update(t.Context(), kernel))
		after := must(r.Reports(t.Context(), services))(t)
		files := same(t, before, after)
		s := settled(t, r, uint64(i+1))
		if s.FileDescriptors != files {
			t.Errorf("luod holds %d file descriptors, the services %d", s.FileDescriptors, files)
		}
		var line strings.Builder
		for _, m := range s.TimeLine {
			if !strings.HasPrefix(m.Name, "fetched") {
				fmt.Fprintf(&line, " %s %+.3f", m.Name, float64(m.Usec-s.TimeLine[0].Usec)/1e6)
			}
		}
		t.Logf("generation %d on %s: %d files of %d services are the same; %s of ours;%s", i+1, r.Boot.Kernel, files, services, time.Since(began).Round(time.Millisecond), line.String())
		before = after
	}
}

func TestTrixieOlderToNewer(t *testing.T) {
	repeats(t)
	r := start(t, lab.Trixie, false, 0)
	enable(t, r, 2)
	r.Sh(t, "systemctl enable -q --now plain.service")
	walk(t, r, 3, r.Parts.Newer)
}

// There PID 1 carries fd stores itself, luod's own included, and must neither
// take anything from luod nor give anything twice.
func TestSidOlderToNewer(t *testing.T) {
	r := start(t, lab.Sid, false, 0)
	enable(t, r, 2)
	r.Sh(t, "systemctl enable -q --now plain.service")
	walk(t, r, 3, r.Parts.Newer)
	// The sessions of three units and the manifest's.
	if log := r.Sh(t, "journalctl -b -u luod.service --no-pager"); !strings.Contains(log, "came back from the fd store bundles=0 sessions=4") {
		t.Errorf("PID 1 did not bring the sessions back:\n%s", log)
	}
}

// everything says that make test-all runs.
func everything() bool { return os.Getenv("LUOD_TEST_ALL") == "1" }

// through are the kernels that a test updates through; make test only has the first.
func through(kernels ...lab.Kernel) []lab.Kernel {
	if everything() {
		return kernels
	}
	return kernels[:1]
}

// repeats skips what only repeats what other tests prove.
func repeats(t *testing.T) {
	t.Helper()
	if !everything() {
		t.Skip("repeats what others prove; make test-all runs it")
	}
}

func TestTrixieNewerToOlder(t *testing.T) {
	repeats(t)
	r := start(t, lab.Trixie, true, 0)
	enable(t, r, 2)
	r.Sh(t, "systemctl enable -q --now plain.service")
	walk(t, r, 3, r.Parts.Older)
}

func TestThreeGenerations(t *testing.T) {
	repeats(t)
	r := start(t, lab.Trixie, false, 0)
	enable(t, r, 2)
	r.Sh(t, "systemctl enable -q --now plain.service")
	walk(t, r, 3, r.Parts.Newer, r.Parts.Older, r.Parts.Newer)
}
