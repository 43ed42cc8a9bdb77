// Package callers finds the unit that a process belongs to, which is the only
// name luod ever believes. A pidfd holds the process still while its cgroup is
// read, so that a recycled PID can't borrow another unit's name. It answers for
// the processes of system services only: sessions, containers and user managers
// speak for nobody.
package callers
