package machine

import (
	"bufio"
	"encoding/json"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/liveupdate/luod/vmtest/guest/protocol"
)

// guest is the other end of a channel.
type guest struct {
	net.Conn
	lines *bufio.Reader
}

func pipe(t *testing.T) (*channel, guest) {
	ours, theirs := net.Pipe()
	c := newChannel(ours, make(chan struct{}))
	t.Cleanup(c.close)
	return c, guest{theirs, bufio.NewReader(theirs)}
}

func (g guest) send(t *testing.T, text string) {
	t.Helper()
	g.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := g.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

func (g guest) request(t *testing.T) (r protocol.Request) {
	t.Helper()
	line, err := g.lines.ReadBytes('\n')
	if err != nil {
		t.Error(err)
		return r
	}
	if err := json.Unmarshal(line, &r); err != nil {
		t.Error(err)
	}
	return r
}

func TestChannelGoesOnAfterALineThatAKexecCut(t *testing.T) {
	c, g := pipe(t)
	g.send(t, "\n{\"event\":\"boot\",\"kernel\":\"7.2\",\"boot_id\":\"a\"}\n")
	if b := <-c.boots; b.Kernel != "7.2" {
		t.Errorf("got %+v", b)
	}
	requests := make(chan protocol.Request, 1)
	go func() { requests <- g.request(t) }()
	_, replies, err := c.ask("true", time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if r := <-requests; r.BootID != "a" || r.Script != "true" {
		t.Errorf("the guest was asked %+v", r)
	}
	g.send(t, "{\"id\":1,\"stdo\n{\"event\":\"boot\",\"kernel\":\"7.3\",\"boot_id\":\"b\"}\n")
	if b := <-c.boots; b.Kernel != "7.3" {
		t.Errorf("got %+v", b)
	}
	if r := <-replies; !errors.Is(r.err, ErrNextBoot) {
		t.Errorf("the script of the boot before: got %+v", r)
	}
}

func TestChannelTakesARestartedAgentForTheSameBoot(t *testing.T) {
	c, g := pipe(t)
	for range 2 {
		g.send(t, "{\"event\":\"boot\",\"boot_id\":\"a\"}\n")
	}
	g.send(t, "{\"event\":\"boot\",\"boot_id\":\"b\"}\n")
	if first, second := <-c.boots, <-c.boots; first.BootID != "a" || second.BootID != "b" {
		t.Errorf("got %+v and %+v", first, second)
	}
}

func TestChannelBeforeTheFirstBoot(t *testing.T) {
	c, _ := pipe(t)
	if _, _, err := c.ask("true", time.Second); err == nil {
		t.Error("a script was sent to a guest that has not booted")
	}
}
