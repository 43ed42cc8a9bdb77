// Command luod-adopt copies what PID 1 keeps in the fd stores of units, and hands
// the copies to luod for an update, or descriptions of what is made anew. luod has
// PID 1 start it, because copying another process's descriptors takes
// CAP_SYS_PTRACE. For the same reason it looks at the connections of an old bus.
package main
