package buslink

// Status is luod's as the bus shows it: each field is a property of the manager's object,
// of the type that luod(8) promises.
type Status struct {
	Phase             string
	Generation        uint64
	Kernel            string
	Unsupported       string
	Degraded          string
	Warning           string
	LoadedKernel      string
	LoadedInitrds     []string
	LoadedCommandLine string
	LoadedRelease     string
	Units             uint64
	FileDescriptors   uint64
	Bytes             uint64
	Waiting           []string
	OldKernel         string
	Lost              []Loss
	TimeLine          []Mark
	LastError         string
	// Scheduled is in µs of CLOCK_REALTIME, or 0.
	Scheduled  uint64
	Services   []Service
	LeftBehind []LeftBehind
}

// Mark is a moment of the time line on the bus: (st), in µs of CLOCK_REALTIME.
type Mark struct {
	Name string
	Usec uint64
}

// Loss is a lost file descriptor on the bus: (sss).
type Loss struct{ Unit, Name, Reason string }

// Service is one that is being prepared on the bus: (ssst), with its deadline in
// µs of CLOCK_MONOTONIC or 0.
type Service struct {
	Unit, State, Reason string
	Deadline            uint64
}

// LeftBehind is a service that the last update went on without: (ss).
type LeftBehind struct{ Unit, Reason string }
