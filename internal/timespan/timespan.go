package timespan

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// spans are systemd's units of time (systemd.time(7)) up to weeks.
var spans = map[string]time.Duration{
	"us": time.Microsecond, "usec": time.Microsecond, "µs": time.Microsecond,
	"ms": time.Millisecond, "msec": time.Millisecond,
	"": time.Second, "s": time.Second, "sec": time.Second, "second": time.Second, "seconds": time.Second,
	"m": time.Minute, "min": time.Minute, "minute": time.Minute, "minutes": time.Minute,
	"h": time.Hour, "hr": time.Hour, "hour": time.Hour, "hours": time.Hour,
	"d": 24 * time.Hour, "day": 24 * time.Hour, "days": 24 * time.Hour,
	"w": 7 * 24 * time.Hour, "week": 7 * 24 * time.Hour, "weeks": 7 * 24 * time.Hour,
}

// Parse reads a time span as systemd writes them, such as "90", "1min 30s"
// or "500ms"; a number without a unit is in seconds. 0 and infinity are refused,
// since nobody may keep an update waiting for ever.
func Parse(text string) (time.Duration, error) {
	var total float64
	rest := strings.TrimSpace(text)
	if rest == "" {
		return 0, fmt.Errorf("%q is no time span", text)
	}
	for rest != "" {
		end := strings.IndexFunc(rest, func(r rune) bool { return !unicode.IsDigit(r) && r != '.' })
		if end < 0 {
			end = len(rest)
		}
		number, err := strconv.ParseFloat(rest[:end], 64)
		if err != nil {
			return 0, fmt.Errorf("%q is no time span such as 90, 1min 30s or 500ms", text)
		}
		rest = strings.TrimLeft(rest[end:], " ")
		end = strings.IndexFunc(rest, func(r rune) bool { return !unicode.IsLetter(r) })
		if end < 0 {
			end = len(rest)
		}
		unit, known := spans[rest[:end]]
		if !known {
			return 0, fmt.Errorf("%q is no time span: there is no unit %q", text, rest[:end])
		}
		rest = strings.TrimLeft(rest[end:], " ")
		total += number * float64(unit)
	}
	if total < float64(time.Microsecond) || total >= math.MaxInt64 {
		return 0, fmt.Errorf("the time span %q is not between 1us and 292 years", text)
	}
	return time.Duration(total), nil
}
