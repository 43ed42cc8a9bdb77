package main

import (
	"sync"
	"time"
)

// tellingInterval is how often PID 1 is told what luod does: it tells its own
// clients each time.
const tellingInterval = 200 * time.Millisecond

// teller tells PID 1 in STATUS= (sd_notify(3)) what luod does: at once, but not
// more often than each tellingInterval, and then the latest.
type teller struct {
	notify func(state string) error

	mu         sync.Mutex
	text, told string
	ready      bool
	telling    bool
}

// Ready says READY=1 with the status so far, in one message. Before that nothing is
// told.
func (t *teller) Ready() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ready = true
	state := "READY=1"
	if t.text != "" {
		state += "\nSTATUS=" + t.text
		t.told = t.text
	}
	return t.notify(state)
}

// Set takes what luod does now, one line. It does not wait for PID 1.
func (t *teller) Set(text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = text
	if t.ready && !t.telling && t.text != t.told {
		t.telling = true
		go t.tell()
	}
}

func (t *teller) tell() {
	for {
		t.mu.Lock()
		if t.text == t.told {
			t.telling = false
			t.mu.Unlock()
			return
		}
		text := t.text
		t.told = text
		t.mu.Unlock()
		_ = t.notify("STATUS=" + text) // without a manager nobody wants to know
		time.Sleep(tellingInterval)
	}
}
