package machine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

const program = "qemu-system-x86_64"

// Machine is a virtual machine that runs, or has ended. Its methods may be called from several goroutines.
type Machine struct {
	config  Config
	console *console
	guest   *channel
	ended   chan struct{} // closed when QEMU is gone
	err     error         // why; set before ended is closed
	cancel  context.CancelFunc
	image   *os.File
}

// Start starts a machine and returns at once; [Machine.WaitBoot] waits until it is up. The machine ends with ctx, with
// Close, or with this process, whichever is first.
func Start(ctx context.Context, config Config) (_ *Machine, err error) {
	if config.Name == "" {
		config.Name = "machine"
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("start %s: %w", config.Name, err)
		}
	}()
	qemu, err := exec.LookPath(program)
	if err != nil {
		return nil, fmt.Errorf("%w (Debian's package qemu-system-x86 has it)", err)
	}
	if err := takeTurn(ctx); err != nil {
		return nil, err
	}
	m := &Machine{config: config, console: &console{}, ended: make(chan struct{})}
	defer func() {
		if err != nil {
			m.release()
		}
	}()
	if m.image, err = config.Image.Hold(); err != nil {
		return nil, err
	}
	if config.ConsoleLog != "" {
		if err := os.MkdirAll(filepath.Dir(config.ConsoleLog), 0o755); err != nil {
			return nil, fmt.Errorf("make the console log's directory: %w", err)
		}
		if m.console.log, err = os.Create(config.ConsoleLog); err != nil {
			return nil, fmt.Errorf("make the console log: %w", err)
		}
	}
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	out, in, err := os.Pipe()
	if err != nil {
		ours.Close()
		return nil, fmt.Errorf("make the console's pipe: %w", err)
	}
	defer in.Close()

	ctx, m.cancel = context.WithCancel(ctx)
	// Descriptor 3 is the first of ExtraFiles.
	args := append(config.arguments(), append(portArguments(3), "-serial", "stdio", "-monitor", "none")...)
	cmd := exec.CommandContext(ctx, qemu, args...)
	cmd.Stdout, cmd.Stderr = in, in
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true} // Setpgid: a Ctrl-C is the test's to handle
	m.guest = newChannel(ours, m.ended)
	if err := m.run(cmd, out); err != nil {
		ours.Close()
		out.Close()
		m.cancel()
		return nil, err
	}
	return m, nil
}

// run starts QEMU and waits for its end in the background, both on one thread that stays for as long: Pdeathsig strikes
// when the thread that forked ends, not the process.
func (m *Machine) run(cmd *exec.Cmd, console *os.File) error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		read := make(chan struct{})
		go func() {
			defer close(read)
			m.console.read(console)
		}()
		err = cmd.Wait()
		<-read
		console.Close()
		m.err = errors.New("the machine reset or powered off")
		if err != nil {
			m.err = fmt.Errorf("QEMU ended: %w", err)
		}
		close(m.ended)
		m.guest.close()
		m.release()
	}()
	return <-started
}

// release gives back what a machine holds beside QEMU.
func (m *Machine) release() {
	if m.image != nil {
		m.image.Close()
	}
	m.console.close()
	endTurn()
}

// Close ends the machine as a power cut would, and waits until it is gone. It may be called again.
func (m *Machine) Close() error {
	m.cancel()
	<-m.ended
	return nil
}

// Ended is closed when the machine has reset, powered off, or was closed.
func (m *Machine) Ended() <-chan struct{} { return m.ended }

// ConsoleTail returns the last lines from the console, 200 at most.
func (m *Machine) ConsoleTail(n int) string { return m.console.tail(n) }

// CommandLine is the kernel command line that the machine was started with.
func (m *Machine) CommandLine() string { return m.config.CommandLine() }

// failure is err with the name of the machine and the end of its console.
func (m *Machine) failure(what string, err error) error {
	return fmt.Errorf("%s: %s: %w\nthe end of the console:\n%s", m.config.Name, what, err, m.ConsoleTail(25))
}

func socketPair() (ours net.Conn, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make the lab port's sockets: %w", err)
	}
	f := os.NewFile(uintptr(fds[0]), "lab port")
	defer f.Close() // FileConn takes a copy
	theirs = os.NewFile(uintptr(fds[1]), "lab port, QEMU's end")
	if ours, err = net.FileConn(f); err != nil {
		theirs.Close()
		return nil, nil, fmt.Errorf("make the lab port's sockets: %w", err)
	}
	return ours, theirs, nil
}
