package pid1

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/coreos/go-systemd/v22/dbus"
	"golang.org/x/sys/unix"
)

// exitrd is where systemd-shutdown returns to if there is an executable "shutdown" in
// it, which then kills everything of the old root (bootup(7), src/shutdown/shutdown.c).
const exitrd = "/run/initramfs"

// exit is what a shutdown runs at its very end.
type exit int

const (
	// direct is systemd-shutdown itself.
	direct exit = iota
	// again is systemd-shutdown once more, from the exitrd, with what PID 1 gave it.
	again
	// foreign is a program of the exitrd that knows nothing of fd stores: dracut's
	// script, which jumps by kexec(8).
	foreign
)

// fillers are the units that fill the exitrd when a shutdown has begun. They all run
// in any shutdown of a system that has them, dracut's only if it runs already.
var fillers = map[string]exit{
	"dracut-shutdown.service":                    foreign,
	"mkinitcpio-generate-shutdown-ramfs.service": again, // Arch
	"generate-shutdown-ramfs.service":            again, // NixOS
}

// findExit tells what a shutdown of the system below root will run. States are the
// ActiveState of those of the fillers that there are.
func findExit(root string, states map[string]string) (exit, error) {
	path := filepath.Join(root, exitrd, "shutdown")
	switch err := unix.Access(path, unix.X_OK); {
	case err == nil:
		return kindOf(path)
	case !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EACCES):
		return foreign, fmt.Errorf("look for %s: %w", path, err)
	}
	found := direct
	for unit, state := range states {
		if unit == "dracut-shutdown.service" {
			// Its ExecStop= unpacks the initrd, if something in the initrd has asked
			// for that (dracut: dracut-initramfs-restore, need_shutdown).
			if state == "inactive" || state == "failed" {
				continue
			}
			_, err := os.Lstat(filepath.Join(root, exitrd, ".need_shutdown"))
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return foreign, fmt.Errorf("look whether dracut's initrd wants the shutdown back: %w", err)
			}
		}
		found = max(found, fillers[unit])
	}
	return found, nil
}

// kindOf tells a script from a program, which can only be systemd-shutdown.
func kindOf(path string) (exit, error) {
	f, err := os.Open(path)
	if err != nil {
		return foreign, fmt.Errorf("look into what the shutdown runs: %w", err)
	}
	defer f.Close()
	head := make([]byte, 4)
	if _, err := io.ReadFull(f, head); err == nil && string(head) == "\x7fELF" {
		return again, nil
	}
	return foreign, nil
}

func fillerStates(ctx context.Context, conn *dbus.Conn) (map[string]string, error) {
	states := map[string]string{}
	for unit := range fillers {
		p, err := conn.GetUnitPropertiesContext(ctx, unit)
		if err != nil {
			return nil, fmt.Errorf("look for %s: %w", unit, err)
		}
		if p["LoadState"] == "loaded" {
			states[unit], _ = p["ActiveState"].(string)
		}
	}
	return states, nil
}

// kexecPlaces are where dracut's script looks for kexec(8) if the initrd has none.
var kexecPlaces = []string{"/usr/sbin", "/usr/bin", "/sbin", "/bin"}

// hasKexec says whether a program of the exitrd would find kexec(8) on the system
// below root.
func hasKexec(root string) bool {
	return slices.ContainsFunc(kexecPlaces, func(dir string) bool {
		return unix.Access(filepath.Join(root, dir, "kexec"), unix.X_OK) == nil
	})
}

// ending is what is known of the shutdown of an orderly update.
type ending struct {
	exit exit
	// kexec says that kexec(8) is there, and losers are units whose stores PID 1 can
	// carry only where it makes the jump.
	kexec  bool
	losers []string
}

// refusal says why luod, or what others hold, would not come through it.
//
// Before systemd 261 luod must live to the end, and the exitrd kills it. Since then PID
// 1 has luod's sessions open too, and whatever takes PID 1's place inherits them; but
// only systemd-shutdown writes down for the next PID 1 what it held for others.
func (e ending) refusal(carries bool) error {
	const out = "; update with --fast, which does not return there"
	switch {
	case e.exit != direct && !carries:
		return fmt.Errorf("the shutdown would return into the initrd (%s) and kill luod before the jump, and all memory with it; systemd %d or newer does not need luod there%s", exitrd, carriesStores, out)
	case e.exit == foreign && !e.kexec:
		return fmt.Errorf("the shutdown would return into the initrd (%s), whose script jumps with kexec(8), and there is none: the machine would reboot, and all memory be lost; install kexec-tools and make the initrd again, or%s", exitrd, strings.TrimPrefix(out, ";"))
	case e.exit == foreign && len(e.losers) > 0:
		return fmt.Errorf("the shutdown would return into the initrd (%s), so that PID 1 can't carry the fd stores of %s; have them hand their file descriptors to luod instead", exitrd, strings.Join(e.losers, ", "))
	}
	return nil
}
