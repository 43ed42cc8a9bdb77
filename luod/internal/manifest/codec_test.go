package manifest

import (
	"bytes"
	"crypto/sha256"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func sample() *Manifest {
	return &Manifest{
		Generation: 3, OldKernel: "7.2.13", OldBootID: "b",
		TimeLine: []Mark{{"trigger", 1}, {"packed", 2}},
		Units: []Unit{
			{Name: "a.service", Files: []File{{Name: "x", Session: "s1", Token: 1, Size: 5}, {Name: "y", Session: "s2", Token: 1, Seals: 8}}},
			{Name: "b.service", Files: []File{{Name: "x", Session: "s1", Token: 2, Flags: 1}}},
		},
	}
}

func encoded(t testing.TB, m *Manifest) []byte {
	b, err := Encode(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestDecodeReadsWhatEncodeWrote(t *testing.T) {
	want := sample()
	got, err := Decode(bytes.NewReader(encoded(t, want)))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("got %+v, %v", got, err)
	}
}

// withBody is a manifest of another version.
func withBody(version int, body []byte) []byte {
	return append(fmt.Appendf(nil, "%s %d %d %x\n", magic, version, len(body), sha256.Sum256(body)), body...)
}

func TestOlderVersionsAreRead(t *testing.T) {
	m := sample()
	for version := 1; version <= lastJSON; version++ {
		body, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Decode(bytes.NewReader(withBody(version, body))); err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("version %d: %+v, %v", version, got, err)
		}
		m.Units[0].Sessions = []Session{{"vm", "own"}}
	}
	if got, err := Decode(bytes.NewReader(encoded(t, m))); err != nil || !reflect.DeepEqual(got, m) {
		t.Errorf("%+v, %v", got, err)
	}
}

// What a later luod adds is left out, and what it leaves out is zero.
func TestAFieldThatIsNotKnownIsLeftOut(t *testing.T) {
	var body bytes.Buffer
	later := struct {
		Generation uint64
		Flavour    string
		Units      []struct {
			Name  string
			Taste int
			Files []File
		}
	}{Generation: 9, Flavour: "x"}
	if err := gob.NewEncoder(&body).Encode(later); err != nil {
		t.Fatal(err)
	}
	if got, err := Decode(bytes.NewReader(withBody(Version, body.Bytes()))); err != nil || got.Generation != 9 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestEveryFlippedByteIsNoticed(t *testing.T) {
	good := encoded(t, sample())
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 0x20
		if _, err := Decode(bytes.NewReader(bad)); err == nil {
			// The case of a hex digit or a blank in the header says the same.
			if i > bytes.IndexByte(good, '\n') {
				t.Fatalf("byte %d (%q) flipped and nobody noticed", i, good[i])
			}
		}
		if _, err := Decode(bytes.NewReader(good[:i])); err == nil {
			t.Fatalf("cut at %d and nobody noticed", i)
		}
	}
}

func TestANewerVersionIsRefusedAsSuch(t *testing.T) {
	_, err := Decode(strings.NewReader(fmt.Sprintf("%s %d something else\n{}", magic, Version+1)))
	if !errors.Is(err, ErrNewer) {
		t.Fatalf("got %v, want ErrNewer", err)
	}
}

func TestAMapThatIsNoMapIsRefused(t *testing.T) {
	for name, spoil := range map[string]func(*Manifest){
		"one place twice":      func(m *Manifest) { m.Units[1].Files[0].Token = 1 },
		"one name twice":       func(m *Manifest) { m.Units[0].Files[1].Name = "x" },
		"one unit twice":       func(m *Manifest) { m.Units[1].Name = "a.service" },
		"the manifest's place": func(m *Manifest) { m.Units[0].Files[0].Session = SessionName },
		"no session":           func(m *Manifest) { m.Units[0].Files[0].Session = "" },
		"a shared session":     func(m *Manifest) { m.Units[0].Sessions = []Session{{"x", "s1"}} },
		"a session of two": func(m *Manifest) {
			m.Units[0].Sessions, m.Units[1].Sessions = []Session{{"x", "z"}}, []Session{{"x", "z"}}
		},
		"a session twice": func(m *Manifest) { m.Units[0].Sessions = []Session{{"x", "y"}, {"x", "z"}} },
		"no name":         func(m *Manifest) { m.Units[0].Files[0].Name = "" },
	} {
		m := sample()
		spoil(m)
		if _, err := Decode(bytes.NewReader(encoded(t, m))); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: got %v, want ErrDamaged", name, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(encoded(f, sample()))
	f.Add([]byte(magic + " 1 2 x\n{}"))
	f.Add([]byte("{}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Decode(bytes.NewReader(data))
		// Behind a checksum that is right too.
		for version := lastJSON; err != nil && version <= Version; version++ {
			m, err = Decode(bytes.NewReader(withBody(version, data)))
		}
		if err != nil {
			return
		}
		if again, err := Decode(bytes.NewReader(encoded(t, m))); err != nil || again.Generation != m.Generation {
			t.Fatalf("%+v does not survive a round: %v", m, err)
		}
	})
}
