// Package errorname has the names of luod's D-Bus errors, for the daemon, its helper
// programs and their callers. Each is the last part of org.luod.LiveUpdate1.Error.NAME.
// The texts that come with them say what to do; the names are for programs.
package errorname

// Prefix is what comes before each name on the bus.
const Prefix = "org.luod.LiveUpdate1.Error."

// The names, each with what it says.
const (
	// AdoptFailed: what is in fd stores could not be taken over for an update.
	AdoptFailed = "AdoptFailed"
	// BadCount: there are not as many names as file descriptors, or none.
	BadCount = "BadCount"
	// BadDeclaration: a unit file's section LiveUpdate can't be understood.
	BadDeclaration = "BadDeclaration"
	// BadName: a session can't be called so.
	BadName = "BadName"
	// BadOrder: services are to be prepared in an order that goes in a circle.
	BadOrder = "BadOrder"
	// BadRequest: the request can't be understood.
	BadRequest = "BadRequest"
	// Busy: something under way keeps luod from it now.
	Busy = "Busy"
	// Cancelled: the update was cancelled.
	Cancelled = "Cancelled"
	// CheckFailed: a preflight check of the kernel failed.
	CheckFailed = "CheckFailed"
	// Degraded: what came through the last update could not be restored in this boot.
	Degraded = "Degraded"
	// FileInUse: the same file is preserved already, and the kernel preserves a file once.
	FileInUse = "FileInUse"
	// ForeignKernel: the loaded kernel is not the one that luod has loaded.
	ForeignKernel = "ForeignKernel"
	// Inhibited: somebody inhibits live updates.
	Inhibited = "Inhibited"
	// InvalidName: a file descriptor can't be called so.
	InvalidName = "InvalidName"
	// JumpFailed: the update was committed, and the jump did not happen.
	JumpFailed = "JumpFailed"
	// LoadFailed: the kernel can't be loaded, unloaded or asked for.
	LoadFailed = "LoadFailed"
	// NameInUse: the unit has another file descriptor of that name.
	NameInUse = "NameInUse"
	// NoEntry: there is no such boot entry.
	NoEntry = "NoEntry"
	// NoKernelLoaded: no kernel is loaded.
	NoKernelLoaded = "NoKernelLoaded"
	// NoManager: PID 1 does not answer what luod asks.
	NoManager = "NoManager"
	// NoRecord: a step could not be written down, and so was not made.
	NoRecord = "NoRecord"
	// NoReport: there is no report of that update.
	NoReport = "NoReport"
	// NoSuchName: the unit has no file descriptor of that name.
	NoSuchName = "NoSuchName"
	// NoSuchSession: the unit has no session of that name.
	NoSuchSession = "NoSuchSession"
	// NoUnit: the caller is no service.
	NoUnit = "NoUnit"
	// NotEnoughMemory: the memory is not enough for an update.
	NotEnoughMemory = "NotEnoughMemory"
	// NotInStore: PID 1 has not got into the unit's fd store what came through.
	NotInStore = "NotInStore"
	// NotPreparing: no update is being prepared, or not by the caller.
	NotPreparing = "NotPreparing"
	// NotRegistered: the unit is not registered.
	NotRegistered = "NotRegistered"
	// NotRestored: what came through the last update is not restored yet; try again.
	NotRestored = "NotRestored"
	// NotSupported: the running kernel can't do live updates.
	NotSupported = "NotSupported"
	// NotYet: it is not the unit's turn yet.
	NotYet = "NotYet"
	// NothingToCancel: no update is under way or scheduled.
	NothingToCancel = "NothingToCancel"
	// OverLimit: a unit has more than it may.
	OverLimit = "OverLimit"
	// PackFailed: the kernel did not preserve something.
	PackFailed = "PackFailed"
	// SessionFailed: a session could not be made or lent.
	SessionFailed = "SessionFailed"
	// SessionWaiting: a session of that name came through the last update and is not released.
	SessionWaiting = "SessionWaiting"
	// StopFailed: services could not be stopped before the jump.
	StopFailed = "StopFailed"
	// Stopping: luod is stopping; it may have done it or not.
	Stopping = "Stopping"
	// StoreChanged: an fd store has lost something since it was copied.
	StoreChanged = "StoreChanged"
	// TooLate: the update is committed.
	TooLate = "TooLate"
	// TooMany: there is no room for so many.
	TooMany = "TooMany"
	// TooManyCalls: the user makes too many calls.
	TooManyCalls = "TooManyCalls"
	// TooManyInhibitors: there are too many inhibitors.
	TooManyInhibitors = "TooManyInhibitors"
	// Unidentified: luod can't tell which unit calls.
	Unidentified = "Unidentified"
	// UnknownOption: there is no such option, or it has another type.
	UnknownOption = "UnknownOption"
	// UnsupportedFile: no kernel handler preserves such a file.
	UnsupportedFile = "UnsupportedFile"
	// Vetoed: a service or a hook is not ready.
	Vetoed = "Vetoed"
	// WouldNotFit: an fd store will have no room for what it has now.
	WouldNotFit = "WouldNotFit"
	// WouldNotSurvive: something would not come through, by what is known before.
	WouldNotSurvive = "WouldNotSurvive"
)

// Names of the bus itself, whole.
const (
	AccessDenied = "org.freedesktop.DBus.Error.AccessDenied"
	Failed       = "org.freedesktop.DBus.Error.Failed"
)
