// Package socket is luod's door for early boot, when no bus runs: a socket in
// /run/luod that only root can connect to. The reissuing helper fetches a unit's
// descriptors through it and hands new ones over. The caller's unit is that of
// the peer's pidfd, never what the message says.
package socket
