package busconn

import (
	"bytes"
	"fmt"

	"github.com/godbus/dbus/v5"

	"github.com/liveupdate/luod/internal/foreign"
)

// Message is one that has come in. Whoever is handed it owns the descriptors.
type Message struct {
	Header
	// Descriptors are those that came with it, whether its body points to them or not.
	Descriptors []foreign.Descriptor

	raw []byte
}

// Size is how long it is, in bytes.
func (m *Message) Size() int { return len(m.raw) }

// Body decodes the body. Descriptors in it are numbers of those in Descriptors. The
// message's own signature says what it is decoded as: look at that first.
func (m *Message) Body() (body []any, err error) {
	defer func() {
		if p := recover(); p != nil {
			body, err = nil, fmt.Errorf("decode the body of a message: %v", p)
		}
	}()
	fds := make([]int, len(m.Descriptors))
	for i, d := range m.Descriptors {
		fds[i] = int(d)
	}
	decoded, err := dbus.DecodeMessageWithFDs(bytes.NewReader(m.raw), fds)
	if err != nil {
		return nil, fmt.Errorf("decode the body of a message: %w", err)
	}
	return decoded.Body, nil
}
