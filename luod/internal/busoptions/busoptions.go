// Package busoptions reads the options of a method call: a{sv} on the bus. What this version
// doesn't know it refuses.
package busoptions

import (
	"fmt"

	"github.com/godbus/dbus/v5"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/kexec/verdict"
	"github.com/liveupdate/luod/luod/internal/fault"
)

// Decode stores what was given where known says. It refuses options that this
// version doesn't know, since ignoring one may break what the caller relies on.
func Decode(given map[string]dbus.Variant, known map[string]any) error {
	for name, value := range given {
		to, is := known[name]
		if !is {
			return &fault.Fault{Name: errorname.UnknownOption, Err: fmt.Errorf("unknown option %q", name)}
		}
		if err := value.Store(to); err != nil {
			return &fault.Fault{Name: errorname.UnknownOption, Err: fmt.Errorf("the option %q must be a %s, not a %s", name, dbus.SignatureOf(to), value.Signature())}
		}
		if list, is := to.(*[]string); is && name == "override" {
			if err := verdict.ValidNames(*list); err != nil {
				return &fault.Fault{Name: errorname.BadRequest, Err: fmt.Errorf("override a check: %w", err)}
			}
		}
	}
	return nil
}
