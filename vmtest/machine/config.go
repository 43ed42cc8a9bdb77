package machine

import (
	"strconv"
	"strings"

	"github.com/liveupdate/luod/vmtest/guest/protocol"
	"github.com/liveupdate/luod/vmtest/lab"
)

// Config says what machine to start. Kernel and Image must be set.
type Config struct {
	Name       string     // stands in errors; "machine" if empty
	Kernel     lab.Kernel // the first kernel; others are in the image's /boot
	Image      lab.Image
	Initrd     string // the path of the first kernel's initial RAM disk; none if empty
	Append     string // more of the kernel's command line
	MemoryMiB  int    // 1024 if zero
	ConsoleLog string // a file for all that comes from the console; none if empty

	// VirtualTime ties the guest's clock to the instructions that it executes, and while it waits, for a disk or a timer,
	// to the host's: with sleep=off QEMU would go on to the guest's next timer instead, milliseconds to seconds for each
	// read from the disk. The machine has one CPU and takes several times as long.
	VirtualTime bool
}

// CommandLine is the kernel command line that a machine is started with. Use it for the next kernel too.
//
// tsc=reliable: under emulation the second kernel could lose seconds in the clocksource watchdog.
func (c Config) CommandLine() string {
	line := "root=/dev/vda rw rootfstype=ext4 console=ttyS0 kho=on liveupdate=on tsc=reliable panic=-1 net.ifnames=0 " +
		"systemd.show_status=0 loglevel=4"
	return strings.TrimSpace(line + " " + c.Append)
}

func (c Config) memory() string {
	if c.MemoryMiB == 0 {
		return "1024"
	}
	return strconv.Itoa(c.MemoryMiB)
}

// arguments is QEMU's command line but for the console and the lab's port.
//
// tb-size: QEMU watches each guest page whose code it has translated, and writing to such a page is very slow. A kernel
// after a kexec reuses all the memory of the one before: with QEMU's 1 GiB of translations it took 14 s to PID 1, with
// 64 MiB it takes 1.5 s. A first boot is a second slower by it.
func (c Config) arguments() []string {
	args := []string{"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-cpu", "max", "-m", c.memory(),
		"-kernel", c.Kernel.Image, "-append", c.CommandLine(),
		"-drive", "file=" + strings.ReplaceAll(c.Image.Path, ",", ",,") + ",format=raw,if=virtio,snapshot=on,cache=unsafe"}
	if c.Initrd != "" {
		args = append(args, "-initrd", c.Initrd)
	}
	if c.VirtualTime {
		return append(args, "-accel", "tcg,tb-size=64", "-icount", "shift=1,sleep=on", "-rtc", "clock=vm", "-smp", "1")
	}
	return append(args, "-accel", "tcg,thread=multi,tb-size=64", "-smp", "2")
}

// portArguments connects the lab's port to a descriptor that QEMU inherits.
func portArguments(fd int) []string {
	return []string{"-device", "virtio-serial-pci",
		"-chardev", "socket,id=lab,fd=" + strconv.Itoa(fd),
		"-device", "virtserialport,chardev=lab,name=" + protocol.Port}
}
