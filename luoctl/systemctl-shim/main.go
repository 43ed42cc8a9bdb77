// Command systemctl-shim makes `systemctl live-update` work: it is found in PATH
// before the real systemctl under that name (see luoctl systemctl-verb), handles
// that one verb with luoctl, and executes the real one for everything else. It
// imports next to nothing, since every call of systemctl passes through it.
package main

import (
	"os"
	"strings"
	"syscall"
)

// Where the real one may be, and luoctl is. Tests set them when they link.
var (
	places = "/usr/bin/systemctl:/bin/systemctl:/usr/sbin/systemctl:/sbin/systemctl"
	luoctl = "/usr/bin/luoctl"
)

func main() {
	argv, path, err := decide(os.Args)
	if err == "" && path == "" {
		if path = real(); path == "" {
			err = "the real systemctl is not to be found in " + places
		}
	}
	if err == "" {
		e := syscall.Exec(path, argv, os.Environ())
		err = "execute " + path + ": " + e.Error()
	}
	os.Stderr.WriteString("systemctl: " + err + "\n")
	os.Exit(1)
}

// decide returns what to execute; an empty path means the real systemctl.
func decide(argv []string) (args []string, path, err string) {
	for _, arg := range argv[1:] {
		if arg == verb {
			return parse(argv)
		}
	}
	return argv, "", ""
}

// real finds the first place that is not this program itself, by whatever name.
func real() string {
	var self, other syscall.Stat_t
	if syscall.Stat("/proc/self/exe", &self) != nil {
		return ""
	}
	for _, path := range strings.Split(places, ":") {
		if syscall.Stat(path, &other) == nil && (other.Dev != self.Dev || other.Ino != self.Ino) && other.Mode&0o111 != 0 {
			return path
		}
	}
	return ""
}
