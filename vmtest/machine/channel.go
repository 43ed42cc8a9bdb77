package machine

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/liveupdate/luod/vmtest/guest/protocol"
)

// ErrNextBoot says that the guest went into its next boot before the script's answer came.
var ErrNextBoot = errors.New("the guest went into its next boot before the script's answer came")

// channel is this end of the lab's port. It goes on over a kexec: each boot's agent greets anew.
type channel struct {
	conn  net.Conn
	ended <-chan struct{}
	boots chan Boot

	mu      sync.Mutex
	bootID  string
	lastID  uint64
	waiting map[uint64]chan<- reply

	writing sync.Mutex
}

type reply struct {
	answer protocol.Answer
	err    error
}

// maxBoots is how many boots may go by without a WaitBoot.
const maxBoots = 100

func newChannel(conn net.Conn, ended <-chan struct{}) *channel {
	c := &channel{conn: conn, ended: ended, boots: make(chan Boot, maxBoots), waiting: map[uint64]chan<- reply{}}
	go c.read()
	return c
}

// read ends with the connection.
func (c *channel) read() {
	r := bufio.NewReader(c.conn)
	for {
		line, err := r.ReadBytes('\n')
		if err != nil {
			io.Copy(io.Discard, r)
			return
		}
		// A line that is no message was cut off by a kexec.
		var boot protocol.Boot
		if json.Unmarshal(line, &boot) == nil && boot.Event == "boot" {
			c.greeted(boot)
			continue
		}
		var answer protocol.Answer
		if json.Unmarshal(line, &answer) == nil && answer.ID != 0 {
			c.answered(answer)
		}
	}
}

func (c *channel) greeted(b protocol.Boot) {
	c.mu.Lock()
	defer c.mu.Unlock()
	again := b.BootID == c.bootID // the agent was restarted
	c.bootID = b.BootID
	for id, to := range c.waiting {
		to <- reply{err: ErrNextBoot}
		delete(c.waiting, id)
	}
	if again {
		return
	}
	boot := Boot{
		Kernel:  b.Kernel,
		BootID:  b.BootID,
		Systemd: b.Systemd,
		Uptime:  time.Duration(b.Uptime * float64(time.Second)),
		At:      time.Now(),
	}
	select {
	case c.boots <- boot:
	default: // nobody has asked for a hundred boots
	}
}

func (c *channel) answered(a protocol.Answer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if to, ok := c.waiting[a.ID]; ok {
		to <- reply{answer: a}
		delete(c.waiting, a.ID)
	}
}

// ask sends a script to the boot that runs now. The channel that it returns gets one reply at most, and never blocks
// its sender.
func (c *channel) ask(script string, timeout time.Duration) (id uint64, _ <-chan reply, err error) {
	to := make(chan reply, 1)
	c.mu.Lock()
	if c.bootID == "" {
		c.mu.Unlock()
		return 0, nil, errors.New("the guest has not booted yet")
	}
	c.lastID++
	id = c.lastID
	c.waiting[id] = to
	request := protocol.Request{ID: id, BootID: c.bootID, Script: script, Timeout: timeout.Seconds()}
	c.mu.Unlock()

	data, err := json.Marshal(request)
	if err != nil {
		return 0, nil, err
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	// A guest that does not read keeps us here no longer than the script may take.
	c.conn.SetWriteDeadline(time.Now().Add(timeout))
	if _, err := c.conn.Write(append(data, '\n')); err != nil {
		c.forget(id)
		return 0, nil, err
	}
	return id, to, nil
}

func (c *channel) forget(id uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waiting, id)
}

func (c *channel) close() { c.conn.Close() }
