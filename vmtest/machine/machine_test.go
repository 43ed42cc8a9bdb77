package machine_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/liveupdate/luod/vmtest/lab"
	"github.com/liveupdate/luod/vmtest/machine"
)

const kexecLoad = "github.com/liveupdate/luod/vmtest/guest/kexecload"

// start starts a machine without luod on the older of two kernels, and waits until it has booted.
func start(t *testing.T, suite lab.Suite) (m *machine.Machine, newer lab.Kernel) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a virtual machine")
	}
	if os.Geteuid() != 0 {
		t.Skipf("the VM lab needs root, this is uid %d", os.Geteuid())
	}
	ctx := t.Context()
	if err := lab.Need(ctx, os.Stderr); err != nil {
		t.Fatal(err)
	}
	older, newer, err := lab.Kernels(ctx, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	loader, err := lab.GuestProgram(ctx, kexecLoad)
	if err != nil {
		t.Fatal(err)
	}
	image, err := lab.BuildImage(ctx, os.Stderr, lab.Spec{
		Suite: suite, Kernels: []lab.Kernel{older, newer}, Files: []lab.File{loader},
	})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	m, err = machine.Start(ctx, machine.Config{
		Name: t.Name(), Kernel: older, Image: image, ConsoleLog: filepath.Join(t.ArtifactDir(), "console.log"),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	boot := waitBoot(t, m)
	t.Logf("%s, systemd %s: up after %s (%s of the guest's)", boot.Kernel, boot.Systemd, boot.At.Sub(began).Round(time.Millisecond), boot.Uptime)
	if boot.Kernel != older.Release {
		t.Fatalf("the machine booted %s, not %s", boot.Kernel, older.Release)
	}
	return m, newer
}

func waitBoot(t *testing.T, m *machine.Machine) machine.Boot {
	t.Helper()
	boot, err := m.WaitBoot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return boot
}

func TestMachineFollowsAKexec(t *testing.T) {
	if os.Getenv("LUOD_TEST_ALL") != "1" {
		t.Skip("every live update proves it; make test-all runs it alone")
	}
	for _, suite := range lab.Suites {
		t.Run(string(suite), func(t *testing.T) {
			m, newer := start(t, suite)
			m.Sh(t, "test -c /dev/liveupdate")
			m.Sh(t, fmt.Sprintf("/usr/lib/luod-lab/kexecload /boot/vmlinuz-%s '%s'", newer.Release, m.CommandLine()))
			first := strings.TrimSpace(m.Sh(t, "cat /proc/sys/kernel/random/boot_id"))

			began := time.Now()
			m.Sh(t, "systemctl kexec")
			second := waitBoot(t, m)
			t.Logf("%s, systemd %s: up %s after systemctl kexec (%s of the guest's)", second.Kernel, second.Systemd, second.At.Sub(began).Round(time.Millisecond), second.Uptime)
			if second.Kernel != newer.Release {
				t.Errorf("the kexec led to %s, not to %s", second.Kernel, newer.Release)
			}
			if second.BootID == first {
				t.Errorf("the boot after the kexec has the boot ID of the one before")
			}
			if got := strings.TrimSpace(m.Sh(t, "uname -r")); got != second.Kernel {
				t.Errorf("uname -r says %s, the agent said %s", got, second.Kernel)
			}
			if failed := m.Sh(t, "systemctl --failed --plain --no-legend"); failed != "" {
				t.Errorf("units failed: %s", failed)
			}
		})
	}
}

func TestMachineRunsScripts(t *testing.T) {
	m, _ := start(t, lab.Trixie)

	t.Run("exit status and both outputs", func(t *testing.T) {
		got, err := m.Run(t.Context(), "echo out; echo err >&2; exit 7")
		if want := (machine.Result{Code: 7, Stdout: "out\n", Stderr: "err\n"}); err != nil || got != want {
			t.Errorf("got %+v, %v; want %+v", got, err, want)
		}
	})
	t.Run("a signal", func(t *testing.T) {
		got, err := m.Run(t.Context(), "kill -KILL $$")
		if err != nil || got.Code != 128+9 {
			t.Errorf("got %+v, %v; want code 137", got, err)
		}
	})
	t.Run("side by side", func(t *testing.T) {
		var all sync.WaitGroup
		// Each waits for a file that the next one makes: they end only if they run at the same time.
		for i := range 8 {
			all.Go(func() {
				script := fmt.Sprintf("touch /run/beside-%d; until test -e /run/beside-%d; do sleep 0.1; done; echo %[1]d", i, (i+1)%8)
				got, err := m.Run(t.Context(), script)
				if err != nil || got.Stdout != fmt.Sprintln(i) {
					t.Errorf("script %d: got %+v, %v", i, got, err)
				}
			})
		}
		all.Wait()
	})
	t.Run("much output is cut", func(t *testing.T) {
		if got := len(m.Sh(t, "head -c 5000000 /dev/zero | tr '\\0' x")); got != 4<<20 {
			t.Errorf("got %d bytes, want 4 MiB", got)
		}
	})
	t.Run("what hangs is killed", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		began := time.Now()
		_, err := m.Run(ctx, "echo before; sleep 1000")
		if err == nil || !strings.Contains(err.Error(), "before") || time.Since(began) > 8*time.Second {
			t.Errorf("after %s: %v; want an error with the output so far", time.Since(began), err)
		}
		m.Sh(t, "! grep -lx sleep /proc/[0-9]*/comm")
	})
	t.Run("a canceled wait ends at once", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(200*time.Millisecond, cancel)
		if _, err := m.Run(ctx, "sleep 3"); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
	// The last one: it ends the machine.
	t.Run("a reset fails all waits at once", func(t *testing.T) {
		booted := make(chan error)
		go func() {
			_, err := m.WaitBoot(t.Context())
			booted <- err
		}()
		began := time.Now()
		_, err := m.Run(t.Context(), "echo b >/proc/sysrq-trigger; sleep 30")
		for _, err := range []error{err, <-booted} {
			if err == nil || !strings.Contains(err.Error(), "the machine reset or powered off") {
				t.Errorf("got %v", err)
			}
		}
		if took := time.Since(began); took > 15*time.Second {
			t.Errorf("it took %s", took)
		}
		if err := m.WaitEnd(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
