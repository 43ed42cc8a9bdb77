// Package helperprotocol is what the reissuing helper and luod say to each other over
// luod's socket: one JSON object a message, with descriptors attached. The
// socket keeps messages apart (SOCK_SEQPACKET), so nothing has to be framed.
// A list of descriptors that is too long for one message goes in several, the
// last of which says so.
package helperprotocol
