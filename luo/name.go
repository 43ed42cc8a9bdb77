package luo

import (
	"fmt"
	"os"
	"runtime"
	"strings"

	"github.com/liveupdate/luod/luo/internal/uapi"
)

// linkPrefix begins the target of a session's link in /proc/self/fd.
const linkPrefix = "anon_inode:[luo_session] "

func nameFromLink(f *os.File) (string, bool) {
	defer runtime.KeepAlive(f)
	link, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	if err != nil {
		return "", false
	}
	return strings.CutPrefix(link, linkPrefix)
}

// CheckName says what is wrong with a session's name: the kernel takes 1 to 63
// bytes and ends it at the first NUL (luo_session_create).
func CheckName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("a session's name is empty")
	case len(name) >= uapi.NameLength:
		return fmt.Errorf("the session name %q has %d bytes: at most %d are allowed", name, len(name), uapi.NameLength-1)
	case strings.IndexByte(name, 0) >= 0:
		return fmt.Errorf("the session name %q contains a NUL", name)
	}
	return nil
}

func nameBytes(name string) (b [uapi.NameLength]byte) {
	copy(b[:], name)
	return b
}

func nameString(b [uapi.NameLength]byte) string {
	s, _, _ := strings.Cut(string(b[:]), "\x00")
	return s
}
