package busserver

import (
	"github.com/godbus/dbus/v5"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/kexec/verdict"
)

// options stores what was given, a{sv} on the bus, where known says. It refuses what this
// version doesn't know, since ignoring one may break what the caller relies on.
func options(given map[string]dbus.Variant, known map[string]any) error {
	for name, value := range given {
		to, is := known[name]
		if !is {
			return refuse(errorname.UnknownOption, "unknown option %q", name)
		}
		if value.Signature() != dbus.SignatureOf(to) || value.Store(to) != nil {
			return refuse(errorname.UnknownOption, "the option %q must be a %s, not a %s", name, dbus.SignatureOf(to), value.Signature())
		}
		if list, is := to.(*[]string); is && name == "override" {
			if err := verdict.ValidNames(*list); err != nil {
				return refuse(errorname.BadRequest, "override a check: %v", err)
			}
		}
	}
	return nil
}
