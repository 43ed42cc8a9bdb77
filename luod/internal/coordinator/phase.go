package coordinator

// Phase is where a live update stands.
type Phase string

// The phases. Before Committed everything can be taken back; afterwards only
// PID 1 can stop the jump, and then it is taken back too.
const (
	Idle      Phase = "idle"
	Checking  Phase = "checking"
	Packing   Phase = "packing"
	Committed Phase = "committed"
	Restoring Phase = "restoring"
)
