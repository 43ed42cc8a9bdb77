package luofake

import "github.com/liveupdate/luod/luo/internal/uapi"

// The requests that FailNext can have fail.
const (
	CreateSession   = uapi.ReqCreateSession
	RetrieveSession = uapi.ReqRetrieveSession
	PreserveFD      = uapi.ReqPreserveFD
	RetrieveFD      = uapi.ReqRetrieveFD
	Finish          = uapi.ReqFinish
	GetName         = uapi.ReqGetName
)
