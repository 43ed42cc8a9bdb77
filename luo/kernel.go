package luo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/luo/internal/uapi"
)

// OpenTimeout is how long Open retries EBUSY when its context has no deadline.
// PID 1 of systemd ≥ 261 has the device open for milliseconds at boot and at
// shutdown.
const OpenTimeout = 5 * time.Second

// Kernel is the running kernel's LUO. It holds nothing open and is safe for
// concurrent use.
type Kernel struct {
	driver Driver
}

// New returns the running kernel.
func New() *Kernel { return NewWithDriver(kernelDriver{}) }

// NewWithDriver returns a kernel behind a driver of the caller's.
func NewWithDriver(d Driver) *Kernel { return &Kernel{driver: d} }

// Probe returns nil if there is a device, else an *UnavailableError. It doesn't
// open the device, which somebody else may need.
func (k *Kernel) Probe() error {
	if k.driver.Present() {
		return nil
	}
	return unavailable()
}

// Open opens the device, alone: the kernel answers EBUSY to everybody else until
// Close. While it is busy Open tries again until ctx ends, or for OpenTimeout if
// ctx has no deadline. The error wraps an *UnavailableError without a device, or an
// *Error: EBUSY together with ctx's error, EIO (the kernel can't read what came
// from the previous one, in this boot), EACCES, EPERM.
func (k *Kernel) Open(ctx context.Context) (*Device, error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, OpenTimeout)
		defer cancel()
	}
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		f, err := k.driver.Open()
		if err == nil {
			return &Device{kernel: k, f: f}, nil
		}
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENXIO) {
			return nil, unavailable()
		}
		if !errors.Is(err, unix.EBUSY) {
			return nil, newError(opOpen, "", err)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w; gave up: %w", newError(opOpen, "", err), ctx.Err())
		case <-time.After(pause):
		}
	}
}

// CreateSession opens the device, makes a session for the next kernel and closes
// the device.
func (k *Kernel) CreateSession(ctx context.Context, name string) (*Session, error) {
	d, err := k.Open(ctx)
	if err != nil {
		return nil, fmt.Errorf("create session %q: %w", name, err)
	}
	defer d.Close()
	return d.CreateSession(name)
}

// RetrieveSession opens the device, takes a session over from the previous
// kernel and closes the device.
func (k *Kernel) RetrieveSession(ctx context.Context, name string) (*Session, error) {
	d, err := k.Open(ctx)
	if err != nil {
		return nil, fmt.Errorf("retrieve session %q: %w", name, err)
	}
	defer d.Close()
	return d.RetrieveSession(name)
}

// SessionFromFile takes f, a session that came another way than by an ioctl:
// through systemd's fd store or a socket.
func (k *Kernel) SessionFromFile(f *os.File) *Session { return &Session{kernel: k, f: f} }

// SessionName borrows f and tells whether it is a session, and its name.
func (k *Kernel) SessionName(f *os.File) (string, bool) { return k.driver.SessionName(f) }

// Device is the open device. Nobody else can open it meanwhile, PID 1 included:
// hold it for as little as possible.
type Device struct {
	kernel *Kernel
	f      *os.File
}

// CreateSession makes an outgoing session. Errors: EEXIST, EINVAL (name), ENOMEM,
// EMFILE.
func (d *Device) CreateSession(name string) (*Session, error) {
	return d.session(opCreate, uapi.ReqCreateSession, name)
}

// RetrieveSession takes over an incoming session, once per boot. Errors: ENOENT
// (no such session), EINVAL (retrieved before), EMFILE.
func (d *Device) RetrieveSession(name string) (*Session, error) {
	return d.session(opRetrieve, uapi.ReqRetrieveSession, name)
}

func (d *Device) session(op op, request uint, name string) (*Session, error) {
	if err := CheckName(name); err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	arg := &uapi.SessionArg{FD: -1, Name: nameBytes(name)}
	arg.Size = uint32(unsafe.Sizeof(*arg))
	errno := d.kernel.driver.Ioctl(d.f, request, unsafe.Pointer(arg))
	runtime.KeepAlive(arg)
	if errno != 0 {
		return nil, newError(op, name, errno)
	}
	return &Session{kernel: d.kernel, f: os.NewFile(uintptr(arg.FD), name)}, nil
}

// Close lets others open the device.
func (d *Device) Close() error { return d.f.Close() }
