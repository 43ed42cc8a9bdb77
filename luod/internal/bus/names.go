package bus

// What luod is called on the bus.
const (
	Name      = "org.luod.LiveUpdate1"
	Path      = "/org/luod/LiveUpdate1"
	Interface = "org.luod.LiveUpdate1.Manager"

	errorPrefix  = "org.luod.LiveUpdate1.Error."
	accessDenied = "org.freedesktop.DBus.Error.AccessDenied"
	failed       = "org.freedesktop.DBus.Error.Failed"
)

// The polkit actions of packaging/org.luod.LiveUpdate1.policy.
const (
	actionUpdate = "org.luod.LiveUpdate1.live-update"
	actionLoad   = "org.luod.LiveUpdate1.load"
	actionCheck  = "org.luod.LiveUpdate1.check"
	actionList   = "org.luod.LiveUpdate1.list"
)
