package manifest

// Version is what Encode writes, and the newest that Decode takes. Up to lastJSON the
// body was JSON, which takes ten times as long to read.
const (
	Version  = 3
	lastJSON = 2
)

// SessionName is the LUO session that holds the manifest, as its only file
// under Token. The kernel can't list sessions, so this name must never change.
const (
	SessionName = "luod"
	Token       = 1
)

// Manifest describes one handover from a kernel to the next.
type Manifest struct {
	// Generation counts the live updates since the last cold boot; the kernel
	// that reads this manifest is that generation.
	Generation uint64 `json:"generation"`
	OldKernel  string `json:"oldKernel"`
	OldBootID  string `json:"oldBootID"`
	TimeLine   []Mark `json:"timeLine"`
	Units      []Unit `json:"units"`
	// LeftBehind are the services that the update went on without.
	LeftBehind []LeftBehind `json:"leftBehind,omitempty"`
	// Native is what PID 1 carries by itself: only to be accounted for.
	Native []Native `json:"native,omitempty"`
}

// Native is what is in a unit's fd store, by name; some may have the same.
type Native struct {
	Unit  string   `json:"unit"`
	Names []string `json:"names"`
}

// LeftBehind is a service that was not ready and may be left out.
type LeftBehind struct {
	Unit   string `json:"unit"`
	Reason string `json:"reason"`
}

// Mark is a moment of the update, in µs of CLOCK_REALTIME: the only clock that
// goes on over a kexec.
type Mark struct {
	Name string `json:"name"`
	Usec int64  `json:"usec"`
}

// Unit is everything that one unit handed over, in the order it did so.
type Unit struct {
	Name  string `json:"name"`
	Files []File `json:"files"`
	// Sessions are those that the unit fills and empties itself.
	Sessions []Session `json:"sessions,omitempty"`
}

// Session is one that luod only keeps alive; Name is the unit's name for it.
type Session struct {
	Name    string `json:"name"`
	Session string `json:"session"`
}

// File is one preserved descriptor.
type File struct {
	Name    string `json:"name"`
	Session string `json:"session"`
	Token   uint64 `json:"token"`
	// Size is in bytes; the kernel forbids a change while a file is preserved.
	Size int64 `json:"size"`
	// Seals are F_SEAL_* bits (fcntl(2)).
	Seals int `json:"seals"`
	// Flags are the O_* status flags: the kernel restores every memfd as
	// O_RDWR, so a read-only descriptor has to be made one again.
	Flags int `json:"flags"`
	// Mode is st_mode, S_IFREG included, and UID and GID are the owner: the kernel
	// makes a new file of luod's own with 0777. Mode is 0 in what an older luod has
	// written, which leaves both as they come.
	Mode uint32 `json:"mode,omitempty"`
	UID  uint32 `json:"uid,omitempty"`
	GID  uint32 `json:"gid,omitempty"`
	// Superset says that there is no memory for a copy with exactly these seals, and
	// that the contents are sealed against writing anyway: it may come back with more.
	Superset bool `json:"superset,omitempty"`
	// SHA256 is hex, and empty where it wasn't asked for or the contents could
	// still change.
	SHA256 string `json:"sha256,omitempty"`
}
