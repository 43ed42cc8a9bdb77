// Command busrelay lets a test outside of a PID namespace speak with PID 1 in it: PID 1 refuses a peer whose process it
// can't see. It listens at the path that it is told, says "ready", and connects each connection to PID 1's own socket.
package main

import (
	"fmt"
	"io"
	"net"
	"os"
)

// private is PID 1's own socket (systemd: src/shared/bus-util.c).
const private = "/run/systemd/private"

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "busrelay:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("say where to listen")
	}
	if err := os.RemoveAll(args[0]); err != nil {
		return err
	}
	l, err := net.Listen("unix", args[0])
	if err != nil {
		return err
	}
	fmt.Println("ready")
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go relay(c)
	}
}

// relay ends when either side hangs up.
func relay(outside net.Conn) {
	defer outside.Close()
	inside, err := net.Dial("unix", private)
	if err != nil {
		return
	}
	go func() {
		_, _ = io.Copy(inside, outside)
		inside.Close()
	}()
	_, _ = io.Copy(outside, inside)
}
