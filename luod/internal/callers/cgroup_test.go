package callers

import (
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestUnitOfCgroup(t *testing.T) {
	for path, want := range map[string]string{
		"/system.slice/a.service":                  "a.service",
		"/system.slice/system-x.slice/x@1.service": "x@1.service",
		"/system.slice/a.service/.control":         "a.service",
		"/a.service":                               "a.service",
		"/system.slice/_cgroup.service":            "cgroup.service",
		"/":                                        "",
		"":                                         "",
		"/init.scope":                              "",
		"/system.slice":                            "",
		"/system.slice/.service":                   "",
		"/system.slice/a.socket":                   "",
		"/system.slice/a.service/payload":          "",
		"/system.slice/a.service/b.service":        "",
		"/system.slice/a.service/.control/x":       "",
		"/../system.slice/a.service":               "",
		"../a.service":                             "",
		"/machine.slice/c.scope/system.slice/a.service":             "",
		"/user.slice/user-1000.slice/session-1.scope":               "",
		"/user.slice/user-1000.slice/user@1000.service":             "",
		"/user.slice/user-1000.slice/user@1000.service/a.service":   "",
		"/user.slice/user-1000.slice/user@1000.service/x/a.service": "",
	} {
		got, err := UnitOfCgroup(path)
		if got != want || (err == nil) != (want != "") || err != nil && !errors.Is(err, ErrNoUnit) {
			t.Errorf("UnitOfCgroup(%q) = %q, %v; want %q", path, got, err, want)
		}
	}
}

func TestPathIn(t *testing.T) {
	for text, want := range map[string]string{
		"0::/system.slice/a.service\n":                      "/system.slice/a.service",
		"12:pids:/x\n1:name=systemd:/y\n":                   "/y",
		"1:name=systemd:/y\n0::/system.slice/a:b.service\n": "/system.slice/a:b.service",
		"":         "",
		"nonsense": "",
	} {
		if got, err := pathIn(text); got != want || (err == nil) != (want != "") {
			t.Errorf("pathIn(%q) = %q, %v; want %q", text, got, err, want)
		}
	}
}

func TestADeadProcessSpeaksForNobody(t *testing.T) {
	cmd, err := os.StartProcess("/bin/true", []string{"true"}, &os.ProcAttr{})
	if err != nil {
		t.Fatal(err)
	}
	pidfd, err := unix.PidfdOpen(cmd.Pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pidfd)
	if _, err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if unit, err := Unit(pidfd); !errors.Is(err, ErrNoUnit) {
		t.Fatalf("got %q, %v", unit, err)
	}
	if unit, err := Unit(0); !errors.Is(err, ErrNoUnit) {
		t.Fatalf("a descriptor that is no pidfd gave %q, %v", unit, err)
	}
}

func FuzzUnitOfCgroup(f *testing.F) {
	f.Add("0::/system.slice/a.service\n")
	f.Fuzz(func(t *testing.T, text string) {
		path, err := pathIn(text)
		if err != nil {
			return
		}
		unit, err := UnitOfCgroup(path)
		if err == nil && (!strings.HasSuffix(unit, ".service") || strings.Contains(unit, "/")) {
			t.Fatalf("%q gave the unit %q", path, unit)
		}
		if err != nil && unit != "" {
			t.Fatalf("%q gave both %q and %v", path, unit, err)
		}
	})
}
