package buslink

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/fdstream"
	"github.com/liveupdate/luod/internal/foreign"
	"github.com/liveupdate/luod/internal/scmrights"
)

// Path is where luod listens. The socket is open to the user of luod-bus, and to root.
const Path = "/run/luod/bus.sock"

const (
	// MaxRequest is how long a message to luod may be, in bytes, and maxNews one of
	// luod's: a list of all that a large machine holds.
	MaxRequest = 1 << 20
	maxNews    = 64 << 20
	// MaxDescriptors is how many may come with one message.
	MaxDescriptors = scmrights.Max
	// sendTimeout bounds the wait for a peer that reads nothing.
	sendTimeout = 30 * time.Second
	// head is the length of what is before each message: its length and how many
	// descriptors come with it, as 32-bit numbers, little-endian.
	head = 8
)

// Socket is one end. Send may be called concurrently, Receive may not.
type Socket struct {
	conn *net.UnixConn
	in   *fdstream.Reader
	// most is how long a message may be that is received.
	most int

	sending sync.Mutex
}

// Dial connects to luod.
func Dial(path string) (*Socket, error) {
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("connect to luod: %w", err)
	}
	return &Socket{conn: conn, in: fdstream.New(conn), most: maxNews}, nil
}

// Accepted is luod's end of a connection that it has accepted; it owns conn.
func Accepted(conn *net.UnixConn) *Socket {
	return &Socket{conn: conn, in: fdstream.New(conn), most: MaxRequest}
}

// Close ends the connection.
func (s *Socket) Close() { s.conn.Close() }

// Send sends m with descriptors, which it borrows. After an error the connection is of no
// use any more, and is closed.
func (s *Socket) Send(m Message, descriptors ...int) error {
	text, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("send a message: %w", err)
	}
	if len(text) > maxNews || s.most == maxNews && len(text) > MaxRequest {
		return fmt.Errorf("send a message: it has %d bytes, and is too long", len(text))
	}
	if len(descriptors) > MaxDescriptors {
		return fmt.Errorf("send a message: it has %d file descriptors, and at most %d can be sent at once", len(descriptors), MaxDescriptors)
	}
	b := make([]byte, head, head+len(text))
	binary.LittleEndian.PutUint32(b, uint32(len(text)))
	binary.LittleEndian.PutUint32(b[4:], uint32(len(descriptors)))
	b = append(b, text...)
	var oob []byte
	if len(descriptors) > 0 {
		oob = unix.UnixRights(descriptors...)
	}
	s.sending.Lock()
	defer s.sending.Unlock()
	_ = s.conn.SetWriteDeadline(time.Now().Add(sendTimeout))
	for len(b) > 0 {
		n, _, err := s.conn.WriteMsgUnix(b, oob, nil)
		if err != nil {
			s.conn.Close() // nobody knows how much of it is there
			return fmt.Errorf("send a message: %w", err)
		}
		b, oob = b[n:], nil
	}
	return nil
}

// Receive waits for a message. The caller owns the descriptors, also those that come with
// an error, after which the connection is of no use any more.
func (s *Socket) Receive() (m Message, descriptors []foreign.Descriptor, err error) {
	start, err := s.in.Peek(head)
	if err != nil {
		return m, s.in.Close(), err
	}
	length, count := binary.LittleEndian.Uint32(start), binary.LittleEndian.Uint32(start[4:])
	if uint64(length) > uint64(s.most) {
		return m, s.in.Close(), fmt.Errorf("receive a message: it has %d bytes, and at most %d are read", length, s.most)
	}
	b := make([]byte, head+int(length))
	if descriptors, err = s.in.Next(b); err != nil {
		return m, append(descriptors, s.in.Close()...), err
	}
	if uint64(count) != uint64(len(descriptors)) {
		return m, append(descriptors, s.in.Close()...), fmt.Errorf("receive a message: %d file descriptors came and not %d", len(descriptors), count)
	}
	if err := json.Unmarshal(b[head:], &m); err != nil {
		return m, append(descriptors, s.in.Close()...), fmt.Errorf("receive a message: %w", err)
	}
	m.size = int(length)
	return m, descriptors, nil
}
