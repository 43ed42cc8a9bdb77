// Command stranger is somebody on the system bus who means luod harm, for the lab: it sends
// what no client would, for a while. With --list it says what it can do; with --client it is
// an honest client instead, which calls luod again and again and prints how long the longest
// answer took, in milliseconds.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"time"

	"github.com/godbus/dbus/v5"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("stranger: ")
	list := flag.Bool("list", false, "say what there is")
	client := flag.Bool("client", false, "be an honest client")
	during := flag.Duration("for", time.Second, "how long")
	flag.Parse()
	over := time.Now().Add(*during)
	switch {
	case *list:
		for _, name := range names() {
			fmt.Println(name)
		}
	case *client:
		luod, bus, err := honest(over)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(luod.Milliseconds(), bus.Milliseconds())
	default:
		attack, is := attacks[flag.Arg(0)]
		if !is {
			log.Fatalf("there is no attack %q", flag.Arg(0))
		}
		if err := attack(over); err != nil {
			log.Fatal(err)
		}
		fmt.Println(sent.Load(), "messages,", ended.Load(), "connections ended by the bus")
	}
}

// honest calls luod and the bus until it is over, and returns how long the longest answers
// took.
func honest(over time.Time) (luod, bus time.Duration, err error) {
	conn, err := dbus.ConnectSystemBus()
	if err != nil {
		return 0, 0, err
	}
	defer conn.Close()
	ask := func(o dbus.BusObject, longest *time.Duration, method string, args ...any) error {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		began := time.Now()
		err := o.CallWithContext(ctx, method, 0, args...).Err
		*longest = max(*longest, time.Since(began))
		return err
	}
	for time.Now().Before(over) {
		if err := ask(conn.Object(name, path), &luod, "org.freedesktop.DBus.Properties.Get", manager, "Phase"); err != nil {
			return 0, 0, err
		}
		if err := ask(conn.BusObject(), &bus, "org.freedesktop.DBus.GetId"); err != nil {
			return 0, 0, err
		}
		time.Sleep(20 * time.Millisecond)
	}
	return luod, bus, nil
}
