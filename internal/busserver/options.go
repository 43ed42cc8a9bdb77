package busserver

import (
	"github.com/godbus/dbus/v5"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/internal/busconn"
)

// options reads options, a{sv} on the bus, and stores them where known says. It refuses what
// this version doesn't know, since ignoring one may break what the caller relies on.
func options(a *busconn.Arguments, known map[string]any) {
	a.Options(func(name, signature string) error {
		to, is := known[name]
		if !is {
			return refuse(errorname.UnknownOption, "unknown option %q", name)
		}
		if want := dbus.SignatureOf(to).String(); signature != want {
			return refuse(errorname.UnknownOption, "the option %q must be a %s, not a %s", name, want, signature)
		}
		switch to := to.(type) {
		case *string:
			*to = a.Text()
		case *bool:
			*to = a.Flag()
		case *uint64:
			*to = a.Number()
		case *[]string:
			*to = a.Texts()
		}
		return nil
	})
}
