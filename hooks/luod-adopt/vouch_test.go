package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// This process is the bus here, and has a connection of its own and none of another's.
func TestVouching(t *testing.T) {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "bus"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	other := exec.Command("sleep", "60")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { other.Process.Kill(); other.Wait() }()
	self, stranger := strconv.Itoa(os.Getpid()), strconv.Itoa(other.Process.Pid)
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{self, self}, ""},
		{[]string{self, stranger}, "has none"},
		{[]string{self}, "takes the PIDs"},
		{[]string{self, "0"}, "no PID"},
		{[]string{self, "-1"}, "no PID"},
		{[]string{"x", self}, "no PID"},
		{[]string{"2147483647", self}, "open process"},
	} {
		err := vouch(c.args)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: got %v, want %q", c.args, err, c.want)
		}
	}
}
