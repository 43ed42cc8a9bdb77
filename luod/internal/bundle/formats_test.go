package bundle

import (
	"testing"

	"golang.org/x/sys/unix"
)

// What an older luod has put into a bundle is read by the next: this text is 0.1.0's.
func TestBundlesOfOlderLuodsAreRead(t *testing.T) {
	b, r, err := New()
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	defer r.Close()
	f := memfd(t, "x")
	defer f.Close()
	text := `[{"owner":"a.service","name":"store:0:page","serial":7}` + "\n" + `,{"owner":"b.service","name":"vm","serial":9}` + "\n]"
	if err := unix.Sendmsg(int(b.w.Fd()), []byte(text), unix.UnixRights(int(f.Fd()), int(f.Fd())), nil, 0); err != nil {
		t.Fatal(err)
	}
	items, err := Read(r)
	if err != nil || len(items) != 2 {
		t.Fatalf("%+v, %v", items, err)
	}
	for i, want := range []Item{{Owner: "a.service", Name: "store:0:page", Serial: 7}, {Owner: "b.service", Name: "vm", Serial: 9}} {
		defer items[i].File.Close()
		if got := items[i]; got.Owner != want.Owner || got.Name != want.Name || got.Serial != want.Serial || content(t, got.File) != "x" {
			t.Errorf("%+v", got)
		}
	}
}
