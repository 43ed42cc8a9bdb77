package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/liveupdate/luod/internal/timespan"
)

// parseWhen reads a time as systemctl --when= takes it (systemd.time(7)): relative
// to now ("+1h 30min"), of the day ("22:30"), of a date ("2026-12-24 04:00", "tomorrow"), or
// in seconds since 1970 ("@1798084800").
func parseWhen(text string, now time.Time) (time.Time, error) {
	text = strings.TrimSpace(text)
	bad := fmt.Errorf("%q is no time: take one such as '+30min', '22:30', '2026-12-24 04:00' or 'tomorrow'", text)
	at, err := time.Time{}, error(nil)
	switch {
	case strings.HasPrefix(text, "+"):
		var span time.Duration
		if span, err = timespan.Parse(text[1:]); err != nil {
			return at, err
		}
		return now.Add(span), nil
	case strings.HasPrefix(text, "@"):
		seconds, err := strconv.ParseInt(text[1:], 10, 64)
		if err != nil {
			return at, bad
		}
		at = time.Unix(seconds, 0)
	default:
		if at, err = parseDate(text, now); err != nil {
			return at, bad
		}
	}
	if !at.After(now) {
		return at, fmt.Errorf("%q is over: it is %s now", text, now.Format(time.DateTime))
	}
	return at, nil
}

// parseDate reads a day, a time of the day, or both; the day is today and the time
// midnight by default.
func parseDate(text string, now time.Time) (time.Time, error) {
	day, clock, both := strings.Cut(text, " ")
	if !both && strings.Contains(day, ":") {
		day, clock = "today", day
	}
	y, m, d := now.Date()
	switch day {
	case "today":
	case "tomorrow":
		d++
	default:
		date, err := time.Parse(time.DateOnly, day)
		if err != nil {
			return time.Time{}, err
		}
		y, m, d = date.Date()
	}
	var of time.Time
	if clock != "" {
		var err error
		if of, err = time.Parse("15:04:05", strings.TrimSpace(clock)); err != nil {
			if of, err = time.Parse("15:04", strings.TrimSpace(clock)); err != nil {
				return time.Time{}, err
			}
		}
	}
	return time.Date(y, m, d, of.Hour(), of.Minute(), of.Second(), 0, now.Location()), nil
}
