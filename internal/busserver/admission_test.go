package busserver

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/liveupdate/luod/internal/busconn"
)

func from(sender string) *busconn.Message {
	return &busconn.Message{Header: busconn.Header{Sender: sender}}
}

func TestOneUserCanNotTakeTheRoomOfAnother(t *testing.T) {
	a := newAdmission(Limits{})
	now := time.Now()
	for range DefaultLimits.Calls {
		if got := a.enter(1, 100, now); got != taken {
			t.Fatalf("got %v", got)
		}
	}
	if got := a.enter(1, 100, now); got != refused {
		t.Errorf("one too many: %v", got)
	}
	for uid := range uint32(3) {
		if got := a.enter(uid*2, 100, now); got != taken {
			t.Errorf("user %d: %v", uid*2, got)
		}
	}
	a.release(1, 100)
	if got := a.enter(1, 100, now); got != taken {
		t.Errorf("after one is done: %v", got)
	}
	for range DefaultLimits.RootCalls - 1 { // one is under way
		if got := a.enter(0, 100, now); got != taken {
			t.Fatalf("root: %v", got)
		}
	}
	if got := a.enter(0, 100, now); got == taken {
		t.Error("root has no limit")
	}
}

func TestLongCallsCount(t *testing.T) {
	a := newAdmission(Limits{})
	now := time.Now()
	if got := a.enter(1, 2*DefaultLimits.Bytes, now); got != taken {
		t.Errorf("a single one: %v", got)
	}
	if got := a.enter(1, 1, now); got != refused {
		t.Errorf("another: %v", got)
	}
}

// Who comes too often is refused, and then has no answer, so that the bus itself stops him.
func TestWhoComesTooOftenHasNoAnswer(t *testing.T) {
	a := newAdmission(Limits{})
	now := time.Now()
	count := func() map[decision]int {
		got := map[decision]int{}
		for range 10_000 {
			one := a.enter(1, 1, now)
			if got[one]++; one == taken {
				a.release(1, 1)
			}
		}
		return got
	}
	first := count()
	if first[taken] != int(DefaultLimits.Burst) || first[refused] != int(DefaultLimits.Refusals) {
		t.Errorf("got %v", first)
	}
	now = now.Add(time.Second)
	if second := count(); second[taken] != int(DefaultLimits.Rate) || second[refused] != int(DefaultLimits.Refusals) {
		t.Errorf("a second later: %v", second)
	}
}

func TestStrangersWaitAndNotTooManyOfThem(t *testing.T) {
	a := newAdmission(Limits{})
	if waits, first := a.await(from(":1.1")); !waits || !first || !a.waiting(":1.1") {
		t.Errorf("the first: %t, %t", waits, first)
	}
	for range DefaultLimits.StrangersCalls - 1 {
		if waits, first := a.await(from(":1.1")); !waits || first {
			t.Fatalf("the next: %t, %t", waits, first)
		}
	}
	if waits, _ := a.await(from(":1.1")); waits {
		t.Error("it may have any number")
	}
	for n := range DefaultLimits.Strangers - 1 {
		if waits, first := a.await(from(fmt.Sprint(":2.", n))); !waits || !first {
			t.Fatalf("stranger %d: %t, %t", n, waits, first)
		}
	}
	if waits, _ := a.await(from(":3.1")); waits {
		t.Error("there may be any number")
	}
	if got := len(a.known(":1.1")); got != DefaultLimits.StrangersCalls || a.waiting(":1.1") {
		t.Errorf("%d have waited", got)
	}
	if waits, _ := a.await(from(":3.1")); !waits {
		t.Error("there is room again, and nobody gets it")
	}
}

// Users that are gone are forgotten, and those that are not keep what they have.
func TestUsersAreForgotten(t *testing.T) {
	a := newAdmission(Limits{})
	now := time.Now()
	a.enter(0, 1, now)
	for uid := range uint32(maxAccounts - 1) {
		if a.enter(uid+1, 1, now) != taken {
			t.Fatalf("user %d", uid+1)
		}
		a.release(uid+1, 1)
	}
	if got := a.enter(1<<20, 1, now); got != dropped {
		t.Errorf("a user too many: %v", got)
	}
	if got := a.enter(1<<20, 1, now.Add(2*time.Minute)); got != taken || a.users[0] == nil {
		t.Errorf("later: %v", got)
	}
}

func TestTheTreeOfObjectsLeadsToLuods(t *testing.T) {
	for path, want := range map[string]string{"/": `<node name="org"`, "/org": `<node name="luod"`, "/org/luod": `<node name="LiveUpdate1"`, Path: `<interface name="` + Interface + `"`} {
		if xml := introspection(path); !strings.Contains(xml, want) {
			t.Errorf("%s has %s", path, xml)
		}
	}
	for path, is := range map[string]bool{"/": true, "/org": true, "/org/luod": true, "/or": false, "/org/luod/LiveUpdate1/unit/a": false, "/x": false} {
		if _, err := find(busconn.Header{Path: path, Interface: introspectInterface, Member: "Introspect"}); (err == nil) != is {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestWhatIsNotThereHasItsError(t *testing.T) {
	for _, c := range []struct{ path, iface, member, want string }{
		{Path, Interface, "Preserve", ""},
		{Path, "", "Preserve", ""},
		{Path, Interface, "Explode", unknownMethod},
		{Path, "a.b", "Preserve", unknownInterface},
		{"/", Interface, "Preserve", unknownObject},
		{"/x", peerInterface, "Ping", ""},
	} {
		_, err := find(busconn.Header{Path: c.path, Interface: c.iface, Member: c.member})
		name := ""
		if err != nil {
			name, _ = plain(err)
		}
		if name != c.want {
			t.Errorf("%s %s.%s: %v", c.path, c.iface, c.member, err)
		}
	}
}
