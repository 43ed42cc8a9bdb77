package bus

// What luod is called on the bus.
const (
	Name      = "org.luod.LiveUpdate1"
	Path      = "/org/luod/LiveUpdate1"
	Interface = "org.luod.LiveUpdate1.Manager"
	// unitInterface is that of a unit's object, which only has signals.
	unitInterface = "org.luod.LiveUpdate1.Unit"

	accessDenied = "org.freedesktop.DBus.Error.AccessDenied"
	failed       = "org.freedesktop.DBus.Error.Failed"
)

// The polkit actions of packaging/org.luod.LiveUpdate1.policy.
const (
	actionUpdate       = "org.luod.LiveUpdate1.live-update"
	actionLoad         = "org.luod.LiveUpdate1.load"
	actionCheck        = "org.luod.LiveUpdate1.check"
	actionCancel       = "org.luod.LiveUpdate1.cancel"
	actionInhibitBlock = "org.luod.LiveUpdate1.inhibit-block"
	actionInhibitDelay = "org.luod.LiveUpdate1.inhibit-delay"
	actionIgnore       = "org.luod.LiveUpdate1.ignore-inhibitors"
	actionDiscard      = "org.luod.LiveUpdate1.discard"
	actionList         = "org.luod.LiveUpdate1.list"
)
