package client

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"
)

// Preserve hands files to luod under names, all or none; luod gets duplicates
// and the caller keeps its own. Names are 1 to 255 bytes of printable ASCII
// without a colon, and unique in the unit. Handing over is cheap and changes
// nothing for the files: they are preserved when an update comes. The error
// wraps an *Error.
//
// When nobody answers, Preserve hands over once more, and then counts what luod has
// under the same name as the same file as handed over. Should it fail all the same, it
// takes back only what luod has said to have taken from this call, and never what may
// have been there before: the error then names what stays, and wraps ErrUnknown.
func (c *Client) Preserve(ctx context.Context, names []string, files []*os.File) error {
	if len(names) != len(files) {
		return fmt.Errorf("preserve: %d names were given for %d files", len(names), len(files))
	}
	if len(names) > MaxPerCall {
		return fmt.Errorf("preserve: %d files in one call are too many: at most %d are taken", len(names), MaxPerCall)
	}
	defer runtime.KeepAlive(files)
	h := &handover{c: c, parts: make([]part, max(1, messages(len(names))))}
	defer func() {
		if h.stop != nil {
			h.stop()
		}
	}()
	for i := range h.parts {
		first, end := i*perMessage, min((i+1)*perMessage, len(names))
		h.parts[i] = part{names: names[first:end], files: files[first:end]}
	}
	send := func(i int) *dbus.Call { return c.send(ctx, busPrefix+"Preserve", h.parts[i].args()...) }
	err := pipeline(len(h.parts), send, func(i int, call *dbus.Call) error {
		err := h.got(ctx, &h.parts[i], call)
		h.failed = h.failed || err != nil
		return err
	})
	if err != nil {
		return errors.Join(err, h.takeBack(ctx))
	}
	return nil
}

// takeBack bounds how long a failed Preserve waits for what it takes back, or asks for.
const takeBack = 30 * time.Second

// handover is one call of Preserve.
type handover struct {
	c     *Client
	parts []part
	// failed says that one part has, and the others are not needed any more.
	failed bool
	// late is what afterwards returns, until stop.
	late context.Context
	stop context.CancelFunc
}

// afterwards is the context of what is done when the call has failed or its own context,
// ctx, has ended.
func (h *handover) afterwards(ctx context.Context) context.Context {
	if h.late == nil {
		h.late, h.stop = context.WithTimeout(context.WithoutCancel(ctx), takeBack)
	}
	return h.late
}

// part is what one message takes; luod takes all of it or nothing.
type part struct {
	names []string
	files []*os.File
	// taken says that luod has said so.
	taken bool
	// doubt says that luod may have taken it without saying so. If it has it, nobody can
	// tell that from an earlier handover of the same files under the same names.
	doubt bool
}

func (p *part) args() []any {
	fds := make([]named, len(p.files))
	for i, f := range p.files {
		fds[i] = named{p.names[i], dbus.UnixFD(f.Fd())}
	}
	return []any{fds, map[string]dbus.Variant{}}
}

// got waits until it is clear what became of a part, of which call was sent.
func (h *handover) got(ctx context.Context, p *part, call *dbus.Call) error {
	for w := h.c.wayToWait(ctx); ; call = h.c.resend(ctx, busPrefix+"Preserve", p.args()...) {
		call = h.c.wait(ctx, call)
		v := judge(call.Err)
		switch v {
		case done:
			// The names were free until now, so they are of this call.
			p.taken, p.doubt = true, false
			return nil
		case unknown:
			p.doubt = true
		}
		if v != refused && !h.failed && w.again(call.Err) {
			continue
		}
		err := w.over(call.Err)
		if !p.doubt {
			return explain("Preserve", err, false)
		}
		return h.settle(ctx, p, err)
	}
}

// settle asks luod for a part in doubt, of which the last that was heard is err. It is
// no error if luod has it.
func (h *handover) settle(ctx context.Context, p *part, err error) error {
	if h.failed {
		ctx = h.afterwards(ctx)
	}
	has, asked := h.c.has(ctx, p)
	if asked != nil && ctx.Err() != nil && !h.failed {
		has, asked = h.c.has(h.afterwards(ctx), p)
	}
	switch {
	case asked != nil:
		return errors.Join(explain("Preserve", err, true), fmt.Errorf("ask what luod has: %w", asked))
	case has:
		return nil
	}
	p.doubt = false
	// luod has refused what nobody had answered, or it may still come.
	return explain("Preserve", err, judge(err) != refused)
}

// has says whether luod has every file of a part under its name, handed over in this boot.
func (c *Client) has(ctx context.Context, p *part) (bool, error) {
	if len(p.names) == 0 {
		return false, nil
	}
	states, err := c.held(ctx)
	if err != nil {
		return false, err
	}
	for _, name := range p.names {
		if states[name] != "held" { // else it isn't there, or came through an update
			return false, nil
		}
	}
	call := c.call(ctx, "Retrieve", p.names)
	if refusedAs(call.Err, "NoSuchName") { // any more
		return false, nil
	}
	got, err := take(call)
	defer func() {
		for _, n := range got {
			unix.Close(int(n.FD))
		}
	}()
	if err != nil || len(got) != len(p.files) {
		return false, err
	}
	for i, n := range got {
		same, err := sameFile(int(n.FD), p.files[i])
		if n.Name != p.names[i] || !same || err != nil {
			return false, err
		}
	}
	return true, nil
}

// sameFile says whether fd is the file f, perhaps opened anew.
func sameFile(fd int, f *os.File) (bool, error) {
	var a, b unix.Stat_t
	if err := errors.Join(unix.Fstat(fd, &a), unix.Fstat(int(f.Fd()), &b)); err != nil {
		return false, fmt.Errorf("compare %s: %w", f.Name(), err)
	}
	return a.Dev == b.Dev && a.Ino == b.Ino, nil
}

// takeBack takes back what was taken; the caller was promised all or none.
func (h *handover) takeBack(ctx context.Context) error {
	var names, stay []string
	for i := range h.parts {
		switch p := &h.parts[i]; {
		case p.taken:
			names = append(names, p.names...)
		case p.doubt:
			stay = append(stay, p.names...)
		}
	}
	err := h.c.Release(h.afterwards(ctx), names)
	if len(stay) > 0 {
		err = errors.Join(err, fmt.Errorf("these may have been handed over before, and stay as they are: %q; %w", stay, ErrUnknown))
	}
	return err
}
