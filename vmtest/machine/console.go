package machine

import (
	"bufio"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
)

// keptLines is how much of the console an error can show.
const keptLines = 200

// console takes in what a machine prints, so that the machine never has to wait for a reader.
type console struct {
	log *os.File // may be nil

	mu    sync.Mutex
	lines []string
}

// read ends when the machine's end is closed.
func (c *console) read(from io.Reader) {
	r := bufio.NewReader(from)
	for {
		line, err := r.ReadString('\n')
		if line != "" {
			c.add(line)
		}
		if err != nil {
			return
		}
	}
}

func (c *console) add(line string) {
	if c.log != nil {
		c.log.WriteString(line) // a full disk shall not end the machine
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.lines) >= 2*keptLines {
		c.lines = append([]string(nil), c.lines[keptLines:]...)
	}
	c.lines = append(c.lines, strings.TrimRight(line, "\r\n"))
}

func (c *console) tail(n int) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	n = min(n, keptLines, len(c.lines))
	return strings.Join(c.lines[len(c.lines)-n:], "\n")
}

func (c *console) close() error {
	if c.log == nil {
		return nil
	}
	if err := c.log.Close(); !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}
