package coordinator

// messageID is the log's key for what kind of message one is. The catalog
// (packaging/luod.catalog) explains each.
const messageID = "MESSAGE_ID"

const (
	// idScheduled: a live update was scheduled.
	idScheduled = "b9c397b4f08adeb0721f25a38e00ff75"
	// idBegins: a live update begins.
	idBegins = "cd0affe1065ec86d09e9454fc0200e0e"
	// idTakenBack: it was taken back.
	idTakenBack = "4c17e82ab0e9a406d803b48982c0f7ec"
	// idLeftBehind: it goes on without a service.
	idLeftBehind = "0353a3c746746ff6ba1af5844501ffde"
	// idCommitted: it is committed.
	idCommitted = "543bf0ad07f0a17462523a71b57ecae0"
	// idRestored: what the previous kernel handed over is back.
	idRestored = "8671421378a39ae0d7f0de1c76d53816"
	// idLost: a file descriptor did not come through.
	idLost = "5d79a8dbc1b41c2f5507f654b2da0c99"
	// idComplete: every service has fetched its own.
	idComplete = "9ac8f080e0ec155ef4b780a8c46adda6"
	// idDegraded: what was handed over can't be restored.
	idDegraded = "e9ee24aaddc624b0ac39343d65b128bc"
)
