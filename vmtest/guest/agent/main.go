package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/liveupdate/luod/vmtest/guest/protocol"
)

func main() {
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, "luod-lab-agent:", err)
		os.Exit(1)
	}
}

func serve() error {
	port, err := openPort(30 * time.Second)
	if err != nil {
		return err
	}
	boot, err := describeBoot()
	if err != nil {
		return err
	}
	out := &lines{w: port}
	if _, err := port.WriteString("\n"); err != nil {
		return fmt.Errorf("greet the host: %w", err)
	}
	if err := out.send(boot); err != nil {
		return fmt.Errorf("greet the host: %w", err)
	}

	var scripts sync.WaitGroup
	go exitOnTerm(&scripts)

	in := bufio.NewReader(&patient{port})
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return fmt.Errorf("read from the host: %w", err)
		}
		var request protocol.Request
		if json.Unmarshal(line, &request) != nil || request.BootID != boot.BootID {
			continue // the rest of what the boot before did not read
		}
		scripts.Go(func() {
			if err := out.send(run(request)); err != nil {
				fmt.Fprintln(os.Stderr, "luod-lab-agent: answer the host:", err)
			}
		})
	}
}

// exitOnTerm ends the agent at shutdown. A script that has just asked for the shutdown gets a moment to be answered.
func exitOnTerm(scripts *sync.WaitGroup) {
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	<-term
	answered := make(chan struct{})
	go func() {
		scripts.Wait()
		close(answered)
	}()
	select {
	case <-answered:
	case <-time.After(300 * time.Millisecond):
	}
	os.Exit(0)
}

// openPort finds the port by its name in sysfs: that needs no udev.
func openPort(patience time.Duration) (*os.File, error) {
	deadline := time.Now().Add(patience)
	for {
		names, _ := filepath.Glob("/sys/class/virtio-ports/*/name")
		for _, path := range names {
			name, err := os.ReadFile(path)
			if err == nil && strings.TrimSpace(string(name)) == protocol.Port {
				// A plain descriptor, not Go's poller: the port has no way to say that a read would wait while the
				// host's end is not open yet.
				dev := "/dev/" + filepath.Base(filepath.Dir(path))
				fd, err := syscall.Open(dev, syscall.O_RDWR|syscall.O_CLOEXEC, 0)
				if err != nil {
					return nil, fmt.Errorf("open the lab's port %s: %w", dev, err)
				}
				return os.NewFile(uintptr(fd), dev), nil
			}
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("find the lab's port %s: no virtio-serial port has that name", protocol.Port)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// patient reads on after the "end of file" that the port gives while the host's end is not open.
type patient struct{ r io.Reader }

func (p *patient) Read(b []byte) (int, error) {
	for {
		n, err := p.r.Read(b)
		if n > 0 || (err != nil && err != io.EOF) {
			return n, err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// lines writes messages from several goroutines, each whole.
type lines struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lines) send(message any) error {
	data, err := json.Marshal(message)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err = l.w.Write(append(data, '\n'))
	return err
}
