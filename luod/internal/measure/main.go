// Command measure times packing and restoring on a real kernel, for the lab: what
// luod does with 10,000 memfds of 100 units, against the bare ioctls on as many
// memfds, in one session and in sessions of 100. It runs as a service with a file
// descriptor store, in place of luod, and prints a line per measure:
//
//	pack|restore ours|one|raw SECONDS
//
// and one more for what of ours went to the store and to waiting for PID 1.
//
// "measure pack ROUNDS" packs each way so often and takes it back. "measure jump
// KERNEL" packs each way once and boots KERNEL, where "measure restore ORDER" gets
// all of it back.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/sdnotify"
	"github.com/liveupdate/luod/luo"
	"github.com/liveupdate/luod/luod/internal/packer"
	"github.com/liveupdate/luod/luod/internal/restorer"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "measure:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 {
		return errors.New("usage: measure pack ROUNDS, measure jump KERNEL, or measure restore ORDER")
	}
	store, err := sdnotify.New()
	if err != nil {
		return err
	}
	switch args[0] {
	case "pack":
		rounds, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		return pack(store, rounds)
	case "jump":
		return jump(store, args[1])
	}
	return restore(store, strings.Split(args[1], ","))
}

// pack takes each measure on the same memfds, each way in another place of the row
// each time.
func pack(store *sdnotify.Manager, rounds int) error {
	cargo, err := load(0)
	if err != nil {
		return err
	}
	all := files(cargo)
	ways := []func() (time.Duration, error){
		func() (time.Duration, error) { return ours(store, cargo) },
		func() (time.Duration, error) { return bare(all, len(all)) },
		func() (time.Duration, error) { return bare(all, packer.ShardSize) },
	}
	names := []string{"ours", "one", "raw"}
	for round := range rounds {
		for i := range ways {
			i = (i + round) % len(ways)
			took, err := ways[i]()
			if err != nil {
				return fmt.Errorf("pack %s: %w", names[i], err)
			}
			say("pack", names[i], took)
		}
	}
	return nil
}

// ours packs as luod does, and takes it back.
func ours(store *sdnotify.Manager, cargo packer.Cargo) (time.Duration, error) {
	began, timed := time.Now(), &timed{Manager: store}
	p, err := packer.Pack(context.Background(), luo.New(), timed, cargo)
	took := time.Since(began)
	if err != nil {
		return 0, err
	}
	say("pack", "store", timed.spent)
	return took, errors.Join(p.Close(), settle(store))
}

// bare preserves files in sessions of so many, and takes it back.
func bare(files []*os.File, perSession int) (time.Duration, error) {
	began := time.Now()
	sessions, err := preserve("bare", files, perSession)
	took := time.Since(began)
	for _, s := range sessions {
		s.Close()
	}
	return took, err
}

// settle waits until PID 1 has let go of what was removed, and is quiet again.
func settle(store *sdnotify.Manager) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err := store.Barrier(ctx)
	time.Sleep(200 * time.Millisecond)
	return err
}

func say(half, way string, took time.Duration) { fmt.Println(half, way, took.Seconds()) }

// jump packs each way once and boots kernel at once, with this kernel's command
// line.
func jump(store *sdnotify.Manager, kernel string) error {
	line, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return err
	}
	image, err := os.Open(kernel)
	if err != nil {
		return err
	}
	defer image.Close()
	if err := unix.KexecFileLoad(int(image.Fd()), -1, strings.TrimSpace(string(line)), unix.KEXEC_FILE_NO_INITRAMFS); err != nil {
		return fmt.Errorf("load %s: %w", kernel, err)
	}
	cargo, err := load(0)
	if err != nil {
		return err
	}
	p, err := packer.Pack(context.Background(), luo.New(), store, cargo)
	if err != nil {
		return err
	}
	defer p.Drop()
	for way, perSession := range map[string]int{"one": units * perUnit, "raw": packer.ShardSize} {
		cargo, err := load(1)
		if err != nil {
			return err
		}
		sessions, err := preserve(way, files(cargo), perSession)
		if err != nil {
			return fmt.Errorf("preserve %s: %w", way, err)
		}
		kept = append(kept, sessions...)
	}
	unix.Sync()
	return unix.Reboot(unix.LINUX_REBOOT_CMD_KEXEC)
}

// restore gets everything back, the ways in the order given.
func restore(store *sdnotify.Manager, order []string) error {
	for _, way := range order {
		var took time.Duration
		var count int
		var err error
		switch way {
		case "ours":
			var r *restorer.Restored
			began, timed := time.Now(), &timed{Manager: store}
			r, err = restorer.Source{Kernel: luo.New(), Store: timed, Have: func(string, string) bool { return false }, Delegated: true, Patience: luo.OpenTimeout}.Restore(context.Background(), nil)
			took = time.Since(began)
			if err == nil && len(r.Lost) > 0 {
				err = fmt.Errorf("%d lost, the first for %s", len(r.Lost), r.Lost[0].Reason)
			}
			count = len(r.Files)
			say("restore", "store", timed.spent)
		case "one":
			took, count, err = retrieve(way, units*perUnit)
		case "raw":
			took, count, err = retrieve(way, packer.ShardSize)
		default:
			err = errors.New("there is no such way")
		}
		if err == nil && count != units*perUnit {
			err = fmt.Errorf("%d memfds came back", count)
		}
		if err != nil {
			return fmt.Errorf("restore %s: %w", way, err)
		}
		if err := settle(store); err != nil {
			return err
		}
		say("restore", way, took)
	}
	return nil
}
