// Package uapi is include/uapi/linux/liveupdate.h: the request numbers and structures of
// /dev/liveupdate and its sessions. Package luo makes the calls, and luofake answers them.
// Nobody else needs to know.
package uapi

// Request numbers and structures of include/uapi/linux/liveupdate.h. Each is
// _IO(0xBA, nr), and each structure begins with its own size.
const (
	ReqCreateSession   = 0xBA00
	ReqRetrieveSession = 0xBA01
	ReqPreserveFD      = 0xBA40
	ReqRetrieveFD      = 0xBA41
	ReqFinish          = 0xBA42
	ReqGetName         = 0xBA43
)

// NameLength is LIVEUPDATE_SESSION_NAME_LENGTH: a session's name has at most one
// byte less, since a NUL ends it.
const NameLength = 64

// SessionArg is struct liveupdate_ioctl_create_session and
// struct liveupdate_ioctl_retrieve_session.
type SessionArg struct {
	Size uint32
	FD   int32
	Name [NameLength]byte
}

// FDArg is struct liveupdate_session_preserve_fd and
// struct liveupdate_session_retrieve_fd.
type FDArg struct {
	Size  uint32
	FD    int32
	Token uint64
}

// FinishArg is struct liveupdate_session_finish.
type FinishArg struct {
	Size     uint32
	Reserved uint32
}

// NameArg is struct liveupdate_session_get_name.
type NameArg struct {
	Size     uint32
	Reserved uint32
	Name     [NameLength]byte
}
