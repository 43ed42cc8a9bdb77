package record

// Delegated is a session that a unit fills and empties itself; luod only keeps it
// alive.
type Delegated struct {
	Unit string `json:"unit"`
	// Name is the unit's name for it, and Session the kernel's.
	Name    string `json:"name"`
	Session string `json:"session"`
	// Incoming says that it came through the update and was not released yet.
	Incoming bool `json:"incoming,omitempty"`
}
