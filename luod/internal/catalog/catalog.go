// Package catalog names the kinds of luod's log messages, by which journalctl finds and
// explains them. packaging/luod.catalog has the explanations.
package catalog

// MessageID is the log's key for what kind of message one is. The catalog
// (packaging/luod.catalog) explains each.
const MessageID = "MESSAGE_ID"

// The kinds.
const (
	// Scheduled: a live update was scheduled.
	Scheduled = "b9c397b4f08adeb0721f25a38e00ff75"
	// Begins: a live update begins.
	Begins = "cd0affe1065ec86d09e9454fc0200e0e"
	// TakenBack: it was taken back.
	TakenBack = "4c17e82ab0e9a406d803b48982c0f7ec"
	// LeftBehind: it goes on without a service.
	LeftBehind = "0353a3c746746ff6ba1af5844501ffde"
	// Committed: it is committed.
	Committed = "543bf0ad07f0a17462523a71b57ecae0"
	// Restored: what the previous kernel handed over is back.
	Restored = "8671421378a39ae0d7f0de1c76d53816"
	// Lost: a file descriptor did not come through.
	Lost = "5d79a8dbc1b41c2f5507f654b2da0c99"
	// Complete: every service has fetched its own.
	Complete = "9ac8f080e0ec155ef4b780a8c46adda6"
	// Degraded: what was handed over can't be restored.
	Degraded = "e9ee24aaddc624b0ac39343d65b128bc"
)
