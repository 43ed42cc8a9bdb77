// Package scmrights takes descriptors out of the control messages of Unix sockets
// (SCM_RIGHTS of unix(7)).
package scmrights
