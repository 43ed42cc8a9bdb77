package fdstream

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/foreign"
)

func pair(t *testing.T) (a, b *net.UnixConn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i, to := range []**net.UnixConn{&a, &b} {
		f := os.NewFile(uintptr(fds[i]), "socket")
		c, err := net.FileConn(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		*to = c.(*net.UnixConn)
		t.Cleanup(func() { c.Close() })
	}
	return a, b
}

// marked is a memfd with a number in it.
func marked(t *testing.T, n uint32) int {
	t.Helper()
	fd, err := unix.MemfdCreate("t", unix.MFD_CLOEXEC)
	if err == nil {
		_, err = unix.Write(fd, binary.LittleEndian.AppendUint32(nil, n))
	}
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

func numberIn(t *testing.T, d foreign.Descriptor) uint32 {
	t.Helper()
	b := make([]byte, 4)
	if _, err := unix.Pread(int(d), b, 0); err != nil {
		t.Fatal(err)
	}
	unix.Close(int(d))
	return binary.LittleEndian.Uint32(b)
}

// Messages of every length, with and without descriptors, keep theirs, however the kernel
// hands them out.
func TestEachMessageKeepsItsDescriptors(t *testing.T) {
	out, in := pair(t)
	const count = 400
	lengths := []int{8, 9, 100, 4096, size - 1, size, size + 1, 200 << 10}
	go func() {
		random := rand.New(rand.NewPCG(1, 2))
		for n := range uint32(count) {
			b := bytes.Repeat([]byte{byte(n)}, lengths[random.IntN(len(lengths))])
			binary.LittleEndian.PutUint32(b, uint32(len(b)))
			var fds []int
			for range random.IntN(3) * int(n%2) {
				fds = append(fds, marked(t, n))
			}
			binary.LittleEndian.PutUint32(b[4:], uint32(len(fds)))
			var oob []byte
			if len(fds) > 0 {
				oob = unix.UnixRights(fds...)
			}
			for len(b) > 0 {
				sent, _, err := out.WriteMsgUnix(b, oob, nil)
				if err != nil {
					t.Error(err)
					return
				}
				b, oob = b[sent:], nil
			}
			for _, fd := range fds {
				unix.Close(fd)
			}
		}
		out.Close()
	}()
	r := New(in)
	for n := range uint32(count) {
		start, err := r.Peek(8)
		if err != nil {
			t.Fatal(err)
		}
		length, has := int(binary.LittleEndian.Uint32(start)), int(binary.LittleEndian.Uint32(start[4:]))
		var got []foreign.Descriptor
		if n%5 == 4 {
			got, err = r.Skip(length)
		} else {
			b := make([]byte, length)
			got, err = r.Next(b)
			if want := bytes.Repeat([]byte{byte(n)}, length-8); !bytes.Equal(b[8:], want) {
				t.Fatalf("message %d of %d bytes has come as another", n, length)
			}
		}
		if err != nil || len(got) != has {
			t.Fatalf("message %d of %d bytes has %d descriptors and not %d: %v", n, length, len(got), has, err)
		}
		for _, d := range got {
			if whose := numberIn(t, d); whose != n {
				t.Fatalf("message %d has a descriptor of message %d", n, whose)
			}
		}
	}
	if _, err := r.Peek(1); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
}

func TestWhatEndsInTheMiddleIsGivenBack(t *testing.T) {
	out, in := pair(t)
	fd := marked(t, 7)
	if _, _, err := out.WriteMsgUnix([]byte("12345678"), unix.UnixRights(fd), nil); err != nil {
		t.Fatal(err)
	}
	unix.Close(fd)
	out.Close()
	r := New(in)
	if _, err := r.Peek(9); err != io.ErrUnexpectedEOF {
		t.Errorf("got %v", err)
	}
	got := r.Close()
	if len(got) != 1 || numberIn(t, got[0]) != 7 {
		t.Errorf("got %v", got)
	}
}
