package timespan

import (
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"90": 90 * time.Second, "1min 30s": 90 * time.Second, "1min30s": 90 * time.Second, "500ms": 500 * time.Millisecond,
		"1.5 h": 90 * time.Minute, "2 days": 48 * time.Hour, "1us": time.Microsecond,
		"": 0, "0": 0, "-1": 0, "x": 0, "1 lightyear": 0, "infinity": 0, "1..2s": 0, "999999999999w": 0, "s": 0, "٣s": 0,
	} {
		got, err := Parse(text)
		if got != want || (err == nil) != (want != 0) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}
