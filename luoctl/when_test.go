package main

import (
	"testing"
	"time"
)

func TestParseWhen(t *testing.T) {
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Skip("no time zones here:", err)
	}
	now := time.Date(2026, 10, 24, 12, 0, 0, 0, zone) // the night before the clock is set back
	for text, want := range map[string]string{
		"+30min": "2026-10-24T12:30:00+02:00", "+1h 30min": "2026-10-24T13:30:00+02:00", "+90": "2026-10-24T12:01:30+02:00",
		"22:30": "2026-10-24T22:30:00+02:00", "22:30:15": "2026-10-24T22:30:15+02:00", "today 12:01": "2026-10-24T12:01:00+02:00",
		"tomorrow": "2026-10-25T00:00:00+02:00", "tomorrow 04:00": "2026-10-25T04:00:00+01:00", "2026-12-24": "2026-12-24T00:00:00+01:00",
		"2026-12-24 04:00": "2026-12-24T04:00:00+01:00", "@1798084800": "2026-12-24T05:00:00+01:00",
		"": "", "11:59": "", "today": "", "2026-10-24": "", "@1": "", "@x": "", "+0": "", "+soon": "", "5min": "", "25:00": "", "2026-13-01": "", "2026-12-24 x": "",
	} {
		got, err := parseWhen(text, now)
		if err == nil && got.In(zone).Format(time.RFC3339) != want || (err == nil) != (want != "") {
			t.Errorf("%q: %v, %v; want %s", text, got, err, want)
		}
	}
}

func FuzzParseWhen(f *testing.F) {
	f.Add("2026-12-24 04:00")
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text string) {
		if at, err := parseWhen(text, now); err == nil && !at.After(now) {
			t.Fatalf("%q is %v", text, at)
		}
	})
}
