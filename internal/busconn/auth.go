package busconn

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
)

// maxLine bounds a line of the authentication protocol, in bytes.
const maxLine = 1024

// authenticate tells the bus who this is, by the credentials that the kernel tells it of
// the socket (D-Bus specification, Authentication Protocol, EXTERNAL), and that it takes
// descriptors.
func authenticate(conn *net.UnixConn) error {
	r := &lineReader{conn: conn}
	uid := hex.EncodeToString([]byte(strconv.Itoa(os.Geteuid())))
	if _, err := conn.Write([]byte("\x00AUTH EXTERNAL " + uid + "\r\n")); err != nil {
		return err
	}
	if err := r.expect("OK "); err != nil {
		return err
	}
	if _, err := conn.Write([]byte("NEGOTIATE_UNIX_FD\r\n")); err != nil {
		return err
	}
	if err := r.expect("AGREE_UNIX_FD"); err != nil {
		return err
	}
	_, err := conn.Write([]byte("BEGIN\r\n"))
	return err
}

// Admit answers a client's authentication on conn, as a bus would, and believes it who it
// is: the socket is one that nobody else can connect to.
func Admit(conn *net.UnixConn) error {
	r := &lineReader{conn: conn, initial: true}
	for {
		line, err := r.line()
		if err != nil {
			return fmt.Errorf("admit a client: %w", err)
		}
		answer := "ERROR\r\n"
		switch verb, _, _ := strings.Cut(line, " "); verb {
		case "AUTH":
			answer = "OK " + strings.Repeat("0", 32) + "\r\n"
			if line == "AUTH" {
				answer = "REJECTED EXTERNAL\r\n"
			}
		case "NEGOTIATE_UNIX_FD":
			answer = "AGREE_UNIX_FD\r\n"
		case "BEGIN":
			return nil
		}
		if _, err := conn.Write([]byte(answer)); err != nil {
			return fmt.Errorf("admit a client: %w", err)
		}
	}
}

// lineReader reads one line and not a byte more: what follows the last is a message.
type lineReader struct {
	conn *net.UnixConn
	// initial says that the NUL before the first line is still to come.
	initial bool
}

func (r *lineReader) line() (string, error) {
	var line []byte
	for b := make([]byte, 1); ; {
		if _, err := r.conn.Read(b); err != nil {
			return "", err
		}
		switch {
		case r.initial && b[0] == 0:
			r.initial = false
		case b[0] == '\n' && len(line) > 0 && line[len(line)-1] == '\r':
			return string(line[:len(line)-1]), nil
		case len(line) >= maxLine:
			return "", errors.New("a line of the authentication is too long")
		default:
			line = append(line, b[0])
		}
	}
}

func (r *lineReader) expect(prefix string) error {
	line, err := r.line()
	if err != nil {
		return err
	}
	if !strings.HasPrefix(line, prefix) {
		return fmt.Errorf("the bus answers %q and not %q", line, prefix)
	}
	return nil
}
