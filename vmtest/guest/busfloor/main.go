// Command busfloor measures for the lab what handing over file descriptors costs
// beyond the bus. With --serve it is a service that takes the same messages as
// luod's Preserve and does nothing. Else it hands over memfds, to that service and
// to luod in turn, and prints a line for each:
//
//	ours|bus SECONDS
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/client"
)

const (
	name   = "org.luod.Lab.BusFloor"
	path   = "/floor"
	method = name + ".Preserve"
	// perMessage is what luod's client sends, and inFlight how many messages it has
	// unanswered.
	perMessage = 16
	inFlight   = 3
)

type named struct {
	Name string
	FD   dbus.UnixFD
}

type floor struct{}

func (floor) Preserve(fds []named, _ map[string]dbus.Variant) *dbus.Error {
	for _, n := range fds {
		unix.Close(int(n.FD))
	}
	return nil
}

func main() {
	log.SetFlags(0)
	serve := flag.Bool("serve", false, "be the service")
	count := flag.Int("count", 1000, "how many memfds")
	rounds := flag.Int("rounds", 7, "how often each way")
	flag.Parse()
	run := func() error { return measure(*count, *rounds) }
	if *serve {
		run = listen
	}
	if err := run(); err != nil {
		log.Fatal("busfloor: ", err)
	}
}

func listen() error {
	conn, err := dbus.ConnectSystemBus()
	if err != nil {
		return err
	}
	if err := conn.Export(floor{}, path, name); err != nil {
		return err
	}
	if reply, err := conn.RequestName(name, dbus.NameFlagDoNotQueue); err != nil || reply != dbus.RequestNameReplyPrimaryOwner {
		return fmt.Errorf("take the name: %d, %w", reply, err)
	}
	<-conn.Context().Done()
	return nil
}

func measure(count, rounds int) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	conn, err := dbus.ConnectSystemBus()
	if err != nil {
		return err
	}
	defer conn.Close()
	luod, err := client.Connect(ctx)
	if err != nil {
		return err
	}
	defer luod.Close()
	names, files := make([]string, count), make([]*os.File, count)
	for i := range files {
		fd, err := unix.MemfdCreate("floor", unix.MFD_CLOEXEC)
		if err != nil {
			return err
		}
		names[i], files[i] = fmt.Sprintf("fd-%d", i), os.NewFile(uintptr(fd), "floor")
	}
	for range rounds {
		began := time.Now()
		var calls []*dbus.Call
		wait := func(unanswered int) error {
			for len(calls) > unanswered {
				if call := <-calls[0].Done; call.Err != nil {
					return fmt.Errorf("hand over to the bus alone: %w", call.Err)
				}
				calls = calls[1:]
			}
			return nil
		}
		for done := 0; done < count; done += perMessage {
			var fds []named
			for i := done; i < min(count, done+perMessage); i++ {
				fds = append(fds, named{names[i], dbus.UnixFD(files[i].Fd())})
			}
			if err := wait(inFlight - 1); err != nil {
				return err
			}
			calls = append(calls, conn.Object(name, path).GoWithContext(ctx, method, 0, nil, fds, map[string]dbus.Variant{}))
		}
		if err := wait(0); err != nil {
			return err
		}
		fmt.Println("bus", time.Since(began).Seconds())
		began = time.Now()
		if err := luod.Preserve(ctx, names, files); err != nil {
			return err
		}
		fmt.Println("ours", time.Since(began).Seconds())
		if err := luod.ReleaseAll(ctx); err != nil {
			return err
		}
		time.Sleep(500 * time.Millisecond) // what follows a release
	}
	return nil
}
