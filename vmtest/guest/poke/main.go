// Command poke is a caller that does what it should not, for the lab: it hands
// luod what can't be preserved and prints what luod says, an error name and text
// a line.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/client"
	"github.com/liveupdate/luod/kexec"
)

func main() {
	log.SetFlags(0)
	what := flag.String("what", "memfd", "comma-separated kinds: memfd, pipe, socket, hugetlb, eventfd, file, same, terabyte (of nothing)")
	names := flag.String("names", "", "their names, separated by '|'; generated if empty")
	count := flag.Int("count", 0, "hand over this many memfds instead")
	unload := flag.Bool("unload", false, "only unload the kernel behind luod's back")
	exec := flag.Bool("exec", false, "only execute the arguments, with an empty memfd as descriptor 3 unless systemd passes some")
	fill := flag.Int("memcached-fill", 0, "only put so many keys into memcached")
	expect := flag.Int("memcached-check", 0, "only check that so many keys are in memcached")
	killer := flag.Int("kill-in-shutdown", 0, "only wait until systemd-shutdown has taken PID 1's place, and kill this process then")
	flag.Parse()
	if *killer > 0 {
		killInShutdown(*killer)
		return
	}
	if n := *fill + *expect; n > 0 {
		if err := memcached(n, *fill > 0); err != nil {
			log.Fatal(err)
		}
		return
	}
	if *exec {
		log.Fatal(execute(flag.Args()))
	}
	if *unload {
		if err := kexec.Unload(); err != nil {
			log.Fatal(err)
		}
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	luod, err := client.Connect(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer luod.Close()
	kinds := strings.Split(*what, ",")
	for range *count {
		kinds = append(kinds, "memfd")
	}
	var files []*os.File
	var list []string
	for i, kind := range kinds {
		f, err := open(kind, files)
		if err != nil {
			log.Fatalf("make a %s: %v", kind, err)
		}
		files = append(files, f)
		list = append(list, fmt.Sprintf("poke-%d", i))
	}
	if *names != "" {
		list = strings.Split(*names, "|")
	}
	err = luod.Preserve(ctx, list, files)
	var refused *client.Error
	switch {
	case errors.As(err, &refused):
		fmt.Println(refused.Name, refused.Text)
	case err != nil:
		fmt.Println("local", err)
	default:
		fmt.Println("accepted")
	}
}

// execute returns only an error.
func execute(argv []string) error {
	if os.Getenv("LISTEN_FDS") == "" {
		fd, err := unix.MemfdCreate("state", unix.MFD_CLOEXEC)
		if err == nil && fd == 3 {
			_, err = unix.FcntlInt(3, unix.F_SETFD, 0)
		} else if err == nil {
			err = unix.Dup3(fd, 3, 0)
		}
		if err != nil {
			return err
		}
	}
	return unix.Exec(argv[0], argv, os.Environ())
}

func open(kind string, before []*os.File) (*os.File, error) {
	var fd int
	var err error
	switch kind {
	case "memfd":
		fd, err = unix.MemfdCreate("poke", unix.MFD_CLOEXEC)
	case "terabyte":
		if fd, err = unix.MemfdCreate("poke", unix.MFD_CLOEXEC); err == nil {
			err = unix.Ftruncate(fd, 1<<40)
		}
	case "hugetlb":
		fd, err = unix.MemfdCreate("poke", unix.MFD_CLOEXEC|unix.MFD_HUGETLB)
	case "pipe":
		r, _, err := os.Pipe()
		return r, err
	case "socket":
		fd, err = unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	case "eventfd":
		fd, err = unix.Eventfd(0, unix.EFD_CLOEXEC)
	case "file":
		return os.Open("/etc/os-release")
	case "same":
		fd, err = unix.Dup(int(before[0].Fd()))
	default:
		return nil, fmt.Errorf("unknown kind")
	}
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), kind), nil
}
