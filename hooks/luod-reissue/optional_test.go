package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/helperprotocol"
)

// refusing says which reason luod has for its no, in a process that has a /run of its own.
const refusing = "LUOD_TEST_REFUSING"

// luod's no to luod-reissue itself, over luod's socket.
func TestWhatOptionalMakesOfARefusal(t *testing.T) {
	if reason, is := os.LookupEnv(refusing); is {
		refuseAlways(t, reason)
		fmt.Println("plain:", run([]string{"--timeout=300ms"}))
		fmt.Println("optional:", run([]string{"--timeout=300ms", "--optional"}))
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("a mount namespace takes root")
	}
	for reason, optional := range map[string]string{
		"Unidentified": "<nil>", "NoUnit": "<nil>", "NotRestored": "<nil>", "Degraded": "<nil>",
		"BadRequest": "fetch the unit's file descriptors from luod: luod says: because",
	} {
		cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), refusing+"="+reason, "NOTIFY_SOCKET=/run/notify")
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
		text, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", reason, err, text)
		}
		if !strings.Contains(string(text), "optional: "+optional+"\n") || strings.Contains(string(text), "plain: <nil>") {
			t.Errorf("%s:\n%s", reason, text)
		}
	}
}

// refuseAlways is a luod that only refuses.
func refuseAlways(t *testing.T, reason string) {
	if err := unix.Mount("tmpfs", "/run", "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir("/run/luod", 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.Bind(l, &unix.SockaddrUnix{Name: helperprotocol.Path})
	}
	if err == nil {
		err = unix.Listen(l, 10)
	}
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			fd, _, err := unix.Accept(l)
			if err != nil {
				return
			}
			if _, _, err := helperprotocol.Receive(fd); err == nil {
				_ = helperprotocol.Send(fd, helperprotocol.Message{Error: "because", Reason: reason}, nil)
			}
			unix.Close(fd)
		}
	}()
}
