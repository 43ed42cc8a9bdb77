// Command storer is a service that stores descriptors in its unit's store as it is told.
//
//	storer serve UNIT        be the service: take orders at /run/storer/UNIT
//	storer note BY UNIT      write to the kernel's log what PID 1 tells of UNIT's store
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/storeview"
	"github.com/liveupdate/luod/vmtest/systemdtest/rules"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "storer:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 2 && args[0] == "serve":
		return serve(args[1])
	case len(args) == 3 && args[0] == "note":
		return note(args[1], args[2])
	}
	return fmt.Errorf("say serve UNIT or note BY UNIT, and not %q", args)
}

func look(unit string) ([]rules.Entry, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	v, err := storeview.View(ctx)
	if err != nil {
		return nil, err
	}
	defer v.Close()
	stores, err := v.Dump(ctx, unit)
	var answer dbus.Error
	if errors.As(err, &answer) && answer.Name == "org.freedesktop.systemd1.NoSuchUnit" {
		err = nil // PID 1 has forgotten it, with all that it had
	}
	if err != nil {
		return nil, err
	}
	entries := []rules.Entry{}
	for _, s := range stores[unit] {
		entries = append(entries, rules.Entry{Name: s.Name, Inode: s.Inode, ReadOnly: s.Flags&unix.O_ACCMODE == unix.O_RDONLY})
	}
	return entries, nil
}

func note(by, unit string) error {
	entries, err := look(unit)
	if err != nil {
		return err
	}
	data, err := json.Marshal(entries)
	if err != nil {
		return err
	}
	// That is read at a shutdown as well.
	return os.WriteFile("/dev/kmsg", fmt.Appendf(nil, "<30>storer-noted %s %s\n", by, data), 0)
}
