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
		longest, err := honest(over)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(longest.Milliseconds())
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

// honest calls luod until it is over, and returns how long the longest answer took. It is
// no service, and so it is refused.
func honest(over time.Time) (time.Duration, error) {
	conn, err := dbus.ConnectSystemBus()
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	var longest time.Duration
	for time.Now().Before(over) {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		began := time.Now()
		var phase dbus.Variant
		err := conn.Object(name, path).CallWithContext(ctx, "org.freedesktop.DBus.Properties.Get", 0, manager, "Phase").Store(&phase)
		cancel()
		if err != nil {
			return 0, err
		}
		longest = max(longest, time.Since(began))
		time.Sleep(20 * time.Millisecond)
	}
	return longest, nil
}
