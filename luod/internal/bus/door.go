package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/godbus/dbus/v5/introspect"
	"github.com/godbus/dbus/v5/prop"

	"github.com/liveupdate/luod/internal/foreign"
	"github.com/liveupdate/luod/internal/loading"
	"github.com/liveupdate/luod/kexec/verdict"
	"github.com/liveupdate/luod/luod/internal/busstatus"
	"github.com/liveupdate/luod/luod/internal/coordinator"
	"github.com/liveupdate/luod/luod/internal/holdings"
	"github.com/liveupdate/luod/luod/internal/inhibitors"
	"github.com/liveupdate/luod/luod/internal/nextkernel"
	"github.com/liveupdate/luod/luod/internal/quota"
	"github.com/liveupdate/luod/luod/internal/record"
)

// Registry is what stands behind the door; *coordinator.Coordinator is one.
type Registry interface {
	Preserve(ctx context.Context, unit string, names []string, files []*os.File) error
	Release(ctx context.Context, unit string, names []string) error
	Retrieve(ctx context.Context, unit string, names []string) (holdings.Fetch, error)
	Fetched(ctx context.Context, unit string, names []string) error
	Own(ctx context.Context, unit string) ([]holdings.Held, error)
	List(ctx context.Context) ([]holdings.Held, error)
	Status(ctx context.Context) (coordinator.Status, error)
	Entries(ctx context.Context) ([]loading.Entry, error)
	Check(ctx context.Context, request nextkernel.Request) (verdict.Report, error)
	Load(ctx context.Context, request nextkernel.Request) (record.Loaded, verdict.Report, error)
	Unload(ctx context.Context) error
	UnloadOwn(ctx context.Context) (release string, err error)
	LiveUpdate(ctx context.Context, options record.Options) (uint64, error)
	Cancel(ctx context.Context, reason string) error
	Register(ctx context.Context, unit string, r record.Registration) error
	Unregister(ctx context.Context, unit string) error
	Ready(ctx context.Context, unit string) error
	Fail(ctx context.Context, unit, reason string) error
	Remind(ctx context.Context) error
	Discard(ctx context.Context, unit string, names []string) error
	Stakes(ctx context.Context) (holdings.Stakes, error)
	DiscardAll(ctx context.Context) (holdings.Stakes, error)
	Report(ctx context.Context, generation uint64) (string, error)
	CreateSession(ctx context.Context, unit, name string) (*os.File, error)
	RetrieveSession(ctx context.Context, unit, name string) (*os.File, error)
	ReleaseSession(ctx context.Context, unit, name string) error
}

// Door opens org.luod.LiveUpdate1 on a bus.
type Door struct {
	Registry Registry
	Log      *slog.Logger
	// Unit finds the unit behind a pidfd, which it borrows.
	Unit func(pidfd int) (string, error)
	// Vouch is peers.Vouch, by whoever may look at the process that is the bus. It is
	// asked only where the bus doesn't give a pidfd of who calls.
	Vouch func(ctx context.Context, bus, pid uint32) error
	// Dial connects to the bus; the caller owns the connection.
	Dial func(options ...dbus.ConnOption) (*dbus.Conn, error)

	// Locks are the inhibitors that are taken here.
	Locks Locks
	// Bin takes what nobody wants.
	Bin *foreign.Bin
	// Exhausted is called once, when clients have left too many descriptors
	// here that can't be closed. It must not block.
	Exhausted func()

	// Meter counts the calls of each unit, or user.
	Meter quota.Meter

	// vouching is held while Vouch runs, and newCalls counts how often it does for a
	// unit.
	vouching sync.Mutex
	newCalls quota.Meter

	mu    sync.Mutex
	props *prop.Properties
	conn  *dbus.Conn
	// shown are the properties as they are, unsaid those of which the bus has not
	// heard yet, and saying the wait until it does.
	shown, unsaid map[string]any
	saying        *time.Timer
	// news are announcements that the bus is to hear, in order.
	news []map[string]dbus.Variant
	// latest is what Changed was told last, also while there was no bus, and told
	// how often it was.
	latest coordinator.Status
	told   int

	// strays counts what can't be found any more, and exhausted says that it was told.
	strays    int
	exhausted bool
	// signals wait to be sent, and more says that there are some.
	signals []coordinator.Signal
	more    chan struct{}
}

// Locks is what Door wants of *inhibitors.Set.
type Locks interface {
	Add(i inhibitors.Inhibitor) (*os.File, error)
	List() []inhibitors.Inhibitor
}

// retry is how soon a lost or missing bus is tried again.
const retry = 250 * time.Millisecond

// Serve keeps the door open until ctx ends. A missing bus is tried again, quietly.
func (d *Door) Serve(ctx context.Context) {
	quiet := false
	for ctx.Err() == nil {
		err := d.open(ctx)
		if ctx.Err() != nil {
			return
		}
		if !quiet {
			d.Log.Info("not on the bus; trying again until it is there", "reason", err)
		}
		quiet = err != errLost
		select {
		case <-ctx.Done():
		case <-time.After(retry):
		}
	}
}

var errLost = errors.New("the connection to the bus was lost")

func (d *Door) open(ctx context.Context) error {
	conn, err := d.Dial(dbus.WithContext(ctx), dbus.WithIncomingInterceptor(d.inspect))
	if err != nil {
		return fmt.Errorf("connect to the bus: %w", err)
	}
	defer conn.Close()
	d.mu.Lock()
	told := d.told
	d.mu.Unlock()
	status, err := d.Registry.Status(ctx)
	if err != nil {
		return err
	}
	methods := &methods{door: d, conn: conn, ctx: ctx, known: newKnown(func(ctx context.Context, sender string) (credentials, error) {
		return d.identify(ctx, conn, sender)
	})}
	defer methods.known.close()
	if err := conn.Export(methods, Path, Interface); err != nil {
		return fmt.Errorf("export the methods: %w", err)
	}
	shown := busstatus.Properties(status)
	props, err := prop.Export(conn, Path, prop.Map{Interface: described(shown, prop.EmitFalse)}) // announce does it
	if err != nil {
		return fmt.Errorf("export the properties: %w", err)
	}
	node := &introspect.Node{
		Name: Path,
		Interfaces: []introspect.Interface{
			introspect.IntrospectData, prop.IntrospectData,
			{Name: Interface, Methods: describe(), Properties: introspection(shown), Signals: []introspect.Signal{{Name: "PrepareForLiveUpdate", Args: []introspect.Arg{{Name: "start", Type: "b"}, {Name: "generation", Type: "t"}, {Name: "deadline", Type: "t"}}}}},
		},
	}
	if err := conn.Export(introspect.NewIntrospectable(node), Path, "org.freedesktop.DBus.Introspectable"); err != nil {
		return fmt.Errorf("export the introspection: %w", err)
	}
	// Before the name is taken: who finds it sees what is so now.
	d.mu.Lock()
	d.props, d.conn, d.shown, d.unsaid, d.news = props, conn, shown, map[string]any{}, nil
	if d.told != told { // since status
		d.show(d.latest)
	}
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		d.props, d.conn = nil, nil
		d.mu.Unlock()
	}()
	reply, err := conn.RequestName(Name, dbus.NameFlagDoNotQueue)
	if err != nil {
		return fmt.Errorf("take the name %s: %w", Name, err)
	}
	if reply != dbus.RequestNameReplyPrimaryOwner && reply != dbus.RequestNameReplyAlreadyOwner {
		return fmt.Errorf("take the name %s: another process owns it", Name)
	}
	d.Log.Info("on the bus", "name", Name)
	go d.emit(conn)
	// Who was told over a bus that is gone may not have heard it.
	if err := d.Registry.Remind(ctx); err != nil {
		return err
	}
	select {
	case <-conn.Context().Done():
		return errLost
	case <-ctx.Done():
		return ctx.Err()
	}
}
