// Package luofake is a Live Update Orchestrator in memory, for tests that need
// no kernel. It implements the ioctls with the kernel's rules and errnos, and its
// sessions are real descriptors, so that duplicates in a message, in an fd store
// or in another process keep a session alive as they would. Kexec takes the
// tests to the next kernel. What it does to memfds is what mm/memfd_luo.c does; package
// rules has the table that it and real kernels are held to.
package luofake
