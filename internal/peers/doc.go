// Package peers finds the processes at the other ends of Unix sockets: those that
// connected them, and not those that have their PIDs now. The kernel remembers them by
// themselves and tells that by SO_PEERPIDFD (Linux 6.5); the PID alone, which is all
// that SO_PEERCRED and older buses tell, is another process's as soon as the first is
// gone and the kernel has gone round.
package peers
