package client

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
)

// Only luod is believed, also when somebody sends a signal to the service alone,
// which the bus delivers without a match.
func TestAForgedSignalIsNoEvent(t *testing.T) {
	c, m := connect(t)
	events, err := c.Register(context.Background(), Participation{})
	if err != nil {
		t.Fatal(err)
	}
	forger, err := dbus.Connect(os.Getenv("DBUS_SYSTEM_BUS_ADDRESS"))
	if err != nil {
		t.Fatal(err)
	}
	defer forger.Close()
	for member, body := range map[string][]any{"PrepareForLiveUpdate": {uint64(1), uint64(0)}, "Cancelled": {uint64(1), "no"}} {
		forged := &dbus.Message{
			Type: dbus.TypeSignal,
			Headers: map[dbus.HeaderField]dbus.Variant{
				dbus.FieldDestination: dbus.MakeVariant(c.present().Names()[0]), dbus.FieldPath: dbus.MakeVariant(unitPath),
				dbus.FieldInterface: dbus.MakeVariant(unitInterface), dbus.FieldMember: dbus.MakeVariant(member),
				dbus.FieldSignature: dbus.MakeVariant(dbus.SignatureOf(body...)),
			},
			Body: body,
		}
		if call := forger.Send(forged, nil); call != nil && call.Err != nil {
			t.Fatal(call.Err)
		}
	}
	// Once this is answered the bus has passed on what was sent before it.
	if err := forger.BusObject().Call("org.freedesktop.DBus.GetId", 0).Err; err != nil {
		t.Fatal(err)
	}
	if err := m.present().Emit(unitPath, unitInterface+".Cancelled", uint64(2), "by luod"); err != nil {
		t.Fatal(err)
	}
	select {
	case e := <-events:
		if e.Prepare || e.Generation != 2 || e.Reason != "by luod" {
			t.Errorf("somebody else's signal counts: %+v", e)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("luod's signal does not come")
	}
}
