package manifest

import (
	"bytes"
	"crypto/sha256"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// MaxSize bounds what Decode reads, in bytes: over a million descriptors.
const MaxSize = 256 << 20

const magic = "LUOD-MANIFEST"

var (
	// ErrDamaged says that the bytes aren't what Encode wrote.
	ErrDamaged = errors.New("the manifest is damaged")
	// ErrNewer says that a newer luod wrote the manifest.
	ErrNewer = errors.New("the manifest is of a newer version than this luod understands")
)

// Encode returns m's bytes.
func Encode(m *Manifest) ([]byte, error) {
	var buffer bytes.Buffer
	if err := gob.NewEncoder(&buffer).Encode(m); err != nil {
		return nil, fmt.Errorf("encode the manifest: %w", err)
	}
	body := buffer.Bytes()
	if len(body) > MaxSize {
		return nil, fmt.Errorf("encode the manifest: %d bytes are over the limit of %d", len(body), MaxSize)
	}
	return append(fmt.Appendf(nil, "%s %d %d %x\n", magic, Version, len(body), sha256.Sum256(body)), body...), nil
}

// Decode reads what Encode wrote. The error wraps ErrDamaged or ErrNewer.
func Decode(r io.Reader) (*Manifest, error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxSize+256))
	if err != nil {
		return nil, fmt.Errorf("read the manifest: %w", err)
	}
	head, body, ok := bytes.Cut(data, []byte("\n"))
	if !ok {
		return nil, fmt.Errorf("%w: it has no header", ErrDamaged)
	}
	var (
		word, sum       string
		version, length int
	)
	if n, _ := fmt.Sscanf(string(head), "%s %d", &word, &version); n != 2 || word != magic {
		return nil, fmt.Errorf("%w: it does not begin with %q", ErrDamaged, magic)
	}
	// The rest of the header may mean something else in another version.
	if version > Version {
		return nil, fmt.Errorf("%w: version %d, known up to %d", ErrNewer, version, Version)
	}
	if n, _ := fmt.Sscanf(string(head), "%s %d %d %s", &word, &version, &length, &sum); n != 4 || version < 1 {
		return nil, fmt.Errorf("%w: its header is %q", ErrDamaged, head)
	}
	if length != len(body) {
		return nil, fmt.Errorf("%w: it should have %d bytes and has %d", ErrDamaged, length, len(body))
	}
	if got := fmt.Sprintf("%x", sha256.Sum256(body)); got != sum {
		return nil, fmt.Errorf("%w: its SHA-256 is wrong", ErrDamaged)
	}
	m := new(Manifest)
	if version <= lastJSON {
		err = json.Unmarshal(body, m)
	} else {
		err = gob.NewDecoder(bytes.NewReader(body)).Decode(m)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrDamaged, err)
	}
	if err := check(m); err != nil {
		return nil, err
	}
	return m, nil
}

// check refuses a map that would give one file to two names or lose one.
func check(m *Manifest) error {
	units, shared := map[string]bool{}, map[string]bool{}
	places := map[string]map[uint64]bool{} // tokens that are taken, by session
	for _, u := range m.Units {
		if u.Name == "" || units[u.Name] {
			return fmt.Errorf("%w: unit %q is empty or listed twice", ErrDamaged, u.Name)
		}
		units[u.Name] = true
		names := make(map[string]bool, len(u.Files))
		for _, f := range u.Files {
			taken := places[f.Session]
			if f.Name == "" || names[f.Name] || f.Session == "" || f.Session == SessionName || taken[f.Token] {
				return fmt.Errorf("%w: file %q of %s has no place of its own", ErrDamaged, f.Name, u.Name)
			}
			if taken == nil {
				taken = make(map[uint64]bool, len(u.Files))
				places[f.Session], shared[f.Session] = taken, true
			}
			names[f.Name], taken[f.Token] = true, true
		}
	}
	for _, u := range m.Units {
		names := map[string]bool{}
		for _, s := range u.Sessions {
			if s.Name == "" || names[s.Name] || s.Session == "" || s.Session == SessionName || shared[s.Session] {
				return fmt.Errorf("%w: session %q of %s is not its own", ErrDamaged, s.Name, u.Name)
			}
			names[s.Name], shared[s.Session] = true, true
		}
	}
	return nil
}
