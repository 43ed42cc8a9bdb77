package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestTheProgressAsPeopleSeeIt(t *testing.T) {
	s := status{Generation: 2, Phase: "preparing", Services: []service{
		{Unit: "a.service", State: "ready"},
		{Unit: "b.service", State: "preparing", Deadline: 42_900_000},
		{Unit: "c.service", State: "waiting"},
		{Unit: "a-service-with-a-very-long-name.service", State: "failed", Reason: "it says: it is noon, and nobody works at noon"},
	}}
	v := view{rows: 24, columns: 60}
	var b bytes.Buffer
	b.WriteString(v.draw(s, 3*time.Second, 30_000_000))
	golden(t, "progress", b.Bytes())
	// Once more: over the old lines.
	if again := v.draw(s, 4*time.Second, 31_000_000); !strings.HasPrefix(again, "\x1b[5A\x1b[J") {
		t.Errorf("%q", again)
	}
	if end := v.clear(); end != "\x1b[5A\x1b[J" || v.clear() != "" {
		t.Errorf("%q", end)
	}
	// A small terminal.
	v = view{rows: 5, columns: 60}
	if text := v.draw(s, 0, 0); strings.Count(text, "\n") != 4 || !strings.Contains(text, "and 2 more") {
		t.Errorf("%q", text)
	}
	// Colours only where they are.
	v = view{rows: 24, columns: 60, palette: true}
	if text := v.draw(s, 0, 0); !strings.Contains(text, "\x1b[32m●\x1b[0m a.service") {
		t.Errorf("%q", text)
	}
}

func TestTheProgressInALine(t *testing.T) {
	s := status{Phase: "preparing", Services: []service{{Unit: "a.service", State: "ready"}, {Unit: "b.service", State: "preparing"}}}
	if text := standing(s, 3*time.Second); text != "preparing … 3 s, 1 of 2 services ready, waiting for b.service" {
		t.Errorf("%q", text)
	}
}
