// Command luod-adopt copies what PID 1 keeps in the fd stores of units, and hands
// the copies to luod for an update. It finds each file among PID 1's descriptors
// by device and inode, and looks again when it has it. luod has PID 1 start it,
// because copying another process's descriptors takes CAP_SYS_PTRACE.
package main
