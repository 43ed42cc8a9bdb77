// Package storecopy copies what PID 1 keeps in the fd store of a unit. It finds each
// entry among PID 1's descriptors by device, inode and flags, and looks again when it
// has it. It takes CAP_SYS_PTRACE.
package storecopy
