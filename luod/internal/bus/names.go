package bus

// What luod is called on the bus.
const (
	Name      = "org.luod.LiveUpdate1"
	Path      = "/org/luod/LiveUpdate1"
	Interface = "org.luod.LiveUpdate1.Manager"
	// unitInterface is that of a unit's object, which only has signals.
	unitInterface = "org.luod.LiveUpdate1.Unit"
)
