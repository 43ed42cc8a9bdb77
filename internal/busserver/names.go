package busserver

// What luod is called on the bus.
const (
	Name      = "org.luod.LiveUpdate1"
	Path      = "/org/luod/LiveUpdate1"
	Interface = "org.luod.LiveUpdate1.Manager"
	// unitInterface is that of a unit's object, which only has signals.
	unitInterface = "org.luod.LiveUpdate1.Unit"

	propertiesInterface = "org.freedesktop.DBus.Properties"
	introspectInterface = "org.freedesktop.DBus.Introspectable"
	peerInterface       = "org.freedesktop.DBus.Peer"
)

// Errors of the bus itself (D-Bus specification, standard errors).
const (
	limitsExceeded   = "org.freedesktop.DBus.Error.LimitsExceeded"
	invalidArgs      = "org.freedesktop.DBus.Error.InvalidArgs"
	unknownMethod    = "org.freedesktop.DBus.Error.UnknownMethod"
	unknownObject    = "org.freedesktop.DBus.Error.UnknownObject"
	unknownInterface = "org.freedesktop.DBus.Error.UnknownInterface"
	unknownProperty  = "org.freedesktop.DBus.Error.UnknownProperty"
	readOnlyProperty = "org.freedesktop.DBus.Error.PropertyReadOnly"
	noReply          = "org.freedesktop.DBus.Error.NoReply"
)
