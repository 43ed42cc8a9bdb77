// Package fdstream reads messages from a Unix stream socket, with the file descriptors that
// came with each. It takes what there is in as few system calls as it can, and still knows
// which descriptor belongs to which message. It is for senders that give the descriptors of a
// message to the kernel with its first byte, in a sendmsg(2) of its own.
package fdstream

import (
	"errors"
	"io"
	"net"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/foreign"
	"github.com/liveupdate/luod/internal/scmrights"
)

// size is how much is taken at once, in bytes.
const size = 32 << 10

// Reader is the reading side. It is for one goroutine.
type Reader struct {
	conn *net.UnixConn
	oob  []byte
	// buffer[start:end] has been received and not asked for.
	buffer     []byte
	start, end int
	marks      []mark
}

// mark is where in the buffer descriptors came: recvmsg(2) returns no byte of what follows
// the part of a message that had some (net/unix/af_unix.c: unix_stream_read_generic), so
// that the last byte before at is of their message.
type mark struct {
	at          int
	descriptors []foreign.Descriptor
}

// New reads from conn, which the caller closes.
func New(conn *net.UnixConn) *Reader {
	return &Reader{conn: conn, oob: make([]byte, unix.CmsgSpace(scmrights.Max*4)), buffer: make([]byte, size)}
}

// Peek returns the next n bytes, at most 4096, which stay where they are, and are valid
// until the next call. At the end of the stream the error is io.EOF if there is no byte.
func (r *Reader) Peek(n int) ([]byte, error) {
	for r.end-r.start < n {
		if r.start > 0 && len(r.buffer)-r.start < n {
			r.compact()
		}
		if err := r.receive(); err != nil {
			if err == io.EOF && r.end > r.start {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
	return r.buffer[r.start : r.start+n], nil
}

func (r *Reader) compact() {
	copy(r.buffer, r.buffer[r.start:r.end])
	for i := range r.marks {
		r.marks[i].at -= r.start
	}
	r.start, r.end = 0, r.end-r.start
}

// receive takes what there is into the buffer.
func (r *Reader) receive() error {
	if r.start == r.end && len(r.marks) == 0 {
		r.start, r.end = 0, 0
	}
	n, descriptors, err := r.into(r.buffer[r.end:])
	r.end += n
	if len(descriptors) > 0 {
		r.marks = append(r.marks, mark{r.end, descriptors})
	}
	return err
}

func (r *Reader) into(b []byte) (int, []foreign.Descriptor, error) {
	n, oobn, _, _, err := r.conn.ReadMsgUnix(b, r.oob)
	var descriptors []foreign.Descriptor
	if oobn > 0 {
		for _, fd := range scmrights.Numbers(r.oob[:oobn]) {
			descriptors = append(descriptors, foreign.Descriptor(fd))
		}
	}
	if err == nil && n == 0 || errors.Is(err, io.EOF) {
		err = io.EOF
	}
	return max(n, 0), descriptors, err
}

// Next takes the next message, of len(b) bytes, into b. The caller owns the descriptors that
// came with it, also with an error.
func (r *Reader) Next(b []byte) ([]foreign.Descriptor, error) {
	have, all := r.buffered(len(b))
	copy(b, have)
	return r.rest(all, len(b)-len(have), func(left int) []byte { return b[len(b)-left:] })
}

// Skip is Next for a message of n bytes that nobody wants.
func (r *Reader) Skip(n int) ([]foreign.Descriptor, error) {
	have, all := r.buffered(n)
	nowhere := make([]byte, min(n, size))
	return r.rest(all, n-len(have), func(left int) []byte { return nowhere[:min(left, len(nowhere))] })
}

// buffered takes up to n bytes out of the buffer, and the descriptors of the message that
// they are of.
func (r *Reader) buffered(n int) (have []byte, all []foreign.Descriptor) {
	n = min(n, r.end-r.start)
	r.start += n
	for len(r.marks) > 0 && r.marks[0].at <= r.start {
		all = append(all, r.marks[0].descriptors...)
		r.marks = r.marks[1:]
	}
	return r.buffer[r.start-n : r.start], all
}

// rest receives what is left of a message into where it belongs.
func (r *Reader) rest(all []foreign.Descriptor, left int, where func(left int) []byte) ([]foreign.Descriptor, error) {
	for left > 0 {
		n, descriptors, err := r.into(where(left))
		all = append(all, descriptors...)
		left -= n
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return all, err
		}
	}
	return all, nil
}

// Close returns the descriptors of messages that nobody has asked for; the caller owns them.
func (r *Reader) Close() []foreign.Descriptor {
	var all []foreign.Descriptor
	for _, m := range r.marks {
		all = append(all, m.descriptors...)
	}
	r.marks = nil
	return all
}
