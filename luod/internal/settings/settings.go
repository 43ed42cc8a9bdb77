package settings

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/liveupdate/luod/internal/timespan"
)

// Settings are the values of luod.conf.
type Settings struct {
	// PrepareTimeout is how long all services together may take, and
	// DefaultTimeout one that does not say how long it may.
	PrepareTimeout, DefaultTimeout time.Duration
	// HookTimeout is what one hook may take.
	HookTimeout time.Duration
	// StopTimeout bounds the stopping of services before a fast jump.
	StopTimeout time.Duration
	// InhibitDelayMax is how long inhibitors may delay an update.
	InhibitDelayMax time.Duration
	// Retain is how long what nobody fetches is kept after an update; 0 is for ever.
	Retain time.Duration
	// LoginBanner shows what is wrong to whoever logs in.
	LoginBanner bool
	// FileDescriptorsMax, BytesMax and SessionsMax are what one unit may have.
	FileDescriptorsMax int
	BytesMax           int64
	SessionsMax        int
	// CallsPerSecond is how often one unit or user may call in the long run, and
	// CallsBurst in a row.
	CallsPerSecond, CallsBurst int
}

// Default is what holds where no file says otherwise.
func Default() Settings {
	return Settings{
		PrepareTimeout: 5 * time.Minute, DefaultTimeout: 90 * time.Second, HookTimeout: 90 * time.Second,
		StopTimeout: 5 * time.Minute, InhibitDelayMax: 5 * time.Second,
		FileDescriptorsMax: 16384, BytesMax: 1 << 60, SessionsMax: 16, CallsPerSecond: 500, CallsBurst: 2000,
	}
}

// set takes one assignment; known is false for a key that there is not.
func (s *Settings) set(section, key, value string) (known bool, err error) {
	span := func(to *time.Duration, most time.Duration) error {
		d, err := timespan.Parse(value)
		if err == nil && d > most {
			err = fmt.Errorf("at most %s is possible", most)
		}
		if err == nil {
			*to = d
		}
		return err
	}
	count := func(to *int, most int) error {
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 || n > most {
			return fmt.Errorf("it is a number between 1 and %d", most)
		}
		*to = n
		return nil
	}
	switch section + "." + key {
	case "LiveUpdate.PrepareTimeoutSec":
		return true, span(&s.PrepareTimeout, time.Hour)
	case "LiveUpdate.DefaultTimeoutSec":
		return true, span(&s.DefaultTimeout, time.Hour)
	case "LiveUpdate.HookTimeoutSec":
		return true, span(&s.HookTimeout, time.Hour)
	case "LiveUpdate.StopTimeoutSec":
		return true, span(&s.StopTimeout, time.Hour)
	case "LiveUpdate.InhibitDelayMaxSec":
		return true, span(&s.InhibitDelayMax, time.Hour)
	case "LiveUpdate.RetainSec":
		if value == "infinity" {
			s.Retain = 0
			return true, nil
		}
		return true, span(&s.Retain, 10*365*24*time.Hour)
	case "LiveUpdate.LoginBanner":
		is, err := parseBoolean(value)
		if err == nil {
			s.LoginBanner = is
		}
		return true, err
	case "Quota.FileDescriptorsMax":
		return true, count(&s.FileDescriptorsMax, 65536)
	case "Quota.SessionsMax":
		return true, count(&s.SessionsMax, 256)
	case "Quota.CallsPerSecond":
		return true, count(&s.CallsPerSecond, 1_000_000)
	case "Quota.CallsBurst":
		return true, count(&s.CallsBurst, 1_000_000)
	case "Quota.BytesMax":
		n, err := parseSize(value)
		if err == nil {
			s.BytesMax = n
		}
		return true, err
	}
	return false, nil
}

// parseBoolean reads what systemd.syntax(7) takes for a boolean.
func parseBoolean(text string) (bool, error) {
	switch strings.ToLower(text) {
	case "1", "yes", "y", "true", "t", "on":
		return true, nil
	case "0", "no", "n", "false", "f", "off":
		return false, nil
	}
	return false, errors.New("it is yes or no")
}

// parseSize reads bytes with a suffix K, M, G, T of base 1024, or infinity, as
// systemd's resource limits.
func parseSize(text string) (int64, error) {
	if text == "infinity" {
		return Default().BytesMax, nil
	}
	factor := int64(1)
	if i := strings.IndexByte("KMGT", text[max(0, len(text)-1)]); i >= 0 {
		factor = 1 << (10 * (i + 1))
		text = text[:len(text)-1]
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 1 || n > Default().BytesMax/factor {
		return 0, errors.New("it is a size in bytes such as 512M, or infinity")
	}
	return n * factor, nil
}
