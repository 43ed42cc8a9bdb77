package systemdtest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// kmsg is a system's /dev/kmsg: what PID 1 and all that is early or late log comes here, and not into this machine's
// log.
type kmsg struct {
	path  string
	f     *os.File
	mu    sync.Mutex
	lines []byte
}

// mostLog bounds what is kept.
const mostLog = 1 << 20

func openKmsg(dir string) (*kmsg, error) {
	k := &kmsg{path: filepath.Join(dir, "kmsg")}
	if err := unix.Mkfifo(k.path, 0o600); err != nil {
		return nil, fmt.Errorf("make a log: %w", err)
	}
	// For writing as well: it never ends.
	f, err := os.OpenFile(k.path, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("make a log: %w", err)
	}
	k.f = f
	go k.read()
	return k, nil
}

func (k *kmsg) read() {
	buffer := make([]byte, 4096)
	for {
		n, err := k.f.Read(buffer)
		if err != nil {
			return
		}
		k.mu.Lock()
		k.lines = append(k.lines, buffer[:n]...)
		k.lines = k.lines[max(0, len(k.lines)-mostLog):]
		k.mu.Unlock()
	}
}

// tail returns the last n lines.
func (k *kmsg) tail(n int) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	lines := strings.Split(strings.TrimRight(string(k.lines), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
