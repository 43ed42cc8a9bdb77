package busserver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/internal/busconn"
	"github.com/liveupdate/luod/internal/buslink"
	"github.com/liveupdate/luod/internal/foreign"
	"github.com/liveupdate/luod/internal/printable"
)

// call is one of a method, under way.
type call struct {
	*serving
	message *busconn.Message
	who     *identity
	method  method
	ctx     context.Context
	// arguments are of the types that the method takes.
	arguments *busconn.Arguments
}

// handle is told of all that comes over the bus, and waits for nobody.
func (v *serving) handle(conn *busconn.Conn, m *busconn.Message) {
	v.begin(conn)
	if m.Type != dbus.TypeMethodCall {
		v.Bin.Close(m.Descriptors...)
		return
	}
	if v.peer != nil {
		v.enter(v.peer, m)
		return
	}
	if !v.admission.waiting(m.Sender) {
		if who := v.callers.find(m.Sender); who != nil {
			v.enter(who, m)
			return
		}
	}
	waits, first := v.admission.await(m)
	switch {
	case !waits:
		v.turnAway(m)
	case first:
		v.calls.Add(1)
		go func() {
			defer v.calls.Done()
			v.meet(m.Sender)
		}()
	}
}

// identifyTimeout bounds the wait for the bus to tell who somebody is.
const identifyTimeout = 20 * time.Second

// meet finds out whose a connection is, and enters its calls.
func (v *serving) meet(sender string) {
	ctx, cancel := context.WithTimeout(v.ctx, identifyTimeout)
	defer cancel()
	who, err := ask(ctx, v.conn, sender)
	if err == nil {
		v.callers.keep(sender, who)
	}
	for _, m := range v.admission.known(sender) {
		if err != nil { // the bus has forgotten it, or is gone
			v.turnAway(m)
			continue
		}
		v.enter(who, m)
	}
}

// enter begins a call if its user may have another.
func (v *serving) enter(who *identity, m *busconn.Message) {
	switch v.admission.enter(who.uid, m.Size(), time.Now()) {
	case dropped:
		v.Bin.Close(m.Descriptors...)
		return
	case refused:
		v.turnAway(m)
		return
	}
	v.calls.Add(1)
	go func() {
		defer v.calls.Done()
		defer v.admission.release(who.uid, m.Size())
		(&call{serving: v, message: m, who: who}).run()
	}()
}

// turnAway refuses a call for what its user has under way, if there is time to say so.
func (v *serving) turnAway(m *busconn.Message) {
	v.Bin.Close(m.Descriptors...)
	if m.NoReply() {
		return
	}
	select {
	case v.refusals <- m.Header:
	default:
	}
}

// refuseAll says no to who was turned away, apart from the one who reads.
func (v *serving) refuseAll() {
	for {
		select {
		case h := <-v.refusals:
			_ = v.conn.Refuse(h, limitsExceeded, "too many calls of this user are under way or came in a row; try again in a second")
		case <-v.ctx.Done():
			return
		}
	}
}

// run has the call performed, and answers it.
func (c *call) run() {
	defer func() { c.Bin.Close(c.message.Descriptors...) }()
	results, borrowed, err := c.perform()
	defer func() { c.Bin.Close(borrowed...) }()
	switch {
	case err == nil:
		err = c.conn.Answer(c.message.Header, results...)
	case errors.Is(err, buslink.ErrLost) || c.serving.ctx.Err() != nil:
		// What became of it nobody knows; the bus says NoReply when this connection ends.
		return
	default:
		name, text := plain(err)
		_ = c.conn.Refuse(c.message.Header, name, text)
		return
	}
	if err != nil {
		c.Log.Warn("could not answer; what was asked for stays where it is", "to", c.message.Sender, "method", c.message.Member, "error", err)
		if c.conn.Broken() {
			return
		}
		_ = c.conn.Refuse(c.message.Header, errorname.Failed, printable.Text(err.Error()))
		return
	}
	if c.method.answered != nil {
		var cancel context.CancelFunc
		c.ctx, cancel = context.WithTimeout(c.serving.ctx, usual)
		defer cancel()
		c.method.answered(c, results)
	}
}

// refuse makes an error that is answered under a name of package errorname.
func refuse(name, format string, args ...any) error {
	return &buslink.Error{Name: errorname.Prefix + name, Text: printable.Text(fmt.Sprintf(format, args...))}
}

// plain is an error as the bus has it.
func plain(err error) (name, text string) {
	var e *buslink.Error
	if errors.As(err, &e) {
		return e.Name, e.Text
	}
	return errorname.Failed, printable.Text(err.Error())
}

// perform finds the method and has it do its work. The caller closes what is returned as
// descriptors, which results has.
func (c *call) perform() (results []any, borrowed []foreign.Descriptor, err error) {
	m, err := find(c.message.Header)
	if err != nil {
		return nil, nil, err
	}
	c.method = m
	if c.message.Signature != m.in() {
		return nil, nil, &buslink.Error{Name: invalidArgs, Text: fmt.Sprintf("%s takes arguments of the types %q and not %q", m.name, m.in(), printable.Text(c.message.Signature))}
	}
	if !m.descriptors && len(c.message.Descriptors) > 0 {
		c.Bin.Close(c.message.Descriptors...)
		c.message.Descriptors = nil
	}
	c.arguments = c.message.Arguments()
	c.ctx = c.serving.ctx
	if m.timeout > 0 {
		var cancel context.CancelFunc
		c.ctx, cancel = context.WithTimeout(c.ctx, m.timeout)
		defer cancel()
	}
	return m.perform(c)
}

// understood returns an error if the arguments that were read are no good.
func (c *call) understood() error {
	err := c.arguments.Err()
	var refusal *buslink.Error
	if err == nil || errors.As(err, &refusal) {
		return err
	}
	return &buslink.Error{Name: invalidArgs, Text: printable.Text(err.Error())}
}

// asUnit passes the call on as one of the caller's unit, with descriptors that it borrows.
func (c *call) asUnit(arguments, result any, descriptors ...int) ([]foreign.Descriptor, error) {
	return c.pass(c.method.name, true, nil, arguments, result, descriptors...)
}

// asAdmin passes the call on if its caller may do all the actions.
func (c *call) asAdmin(actions []string, arguments, result any) ([]foreign.Descriptor, error) {
	allowed, err := c.authorize(actions)
	if err != nil {
		return nil, err
	}
	return c.pass(c.method.name, false, allowed, arguments, result)
}

func (c *call) pass(method string, unit bool, allowed []string, arguments, result any, descriptors ...int) ([]foreign.Descriptor, error) {
	told, pidfd, err := c.caller(c.ctx, unit)
	if err != nil {
		return nil, err
	}
	told.Allowed = allowed
	all := descriptors
	if pidfd >= 0 {
		defer unix.Close(pidfd)
		all = slices.Concat([]int{pidfd}, descriptors)
	}
	return c.link.Ask(c.ctx, method, told, arguments, result, all...)
}

// authorize returns those of the actions that polkit has allowed. Root is nobody's to ask
// about: luod lets it do everything, so that it works where no polkit is installed.
func (c *call) authorize(actions []string) ([]string, error) {
	if c.who.uid == 0 {
		return nil, nil
	}
	for _, action := range actions {
		if err := c.polkit(action); err != nil {
			return nil, err
		}
	}
	return actions, nil
}
