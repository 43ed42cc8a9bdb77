// Package restorer brings back what the packer of the previous kernel's luod
// preserved. It reads the manifest first, then every session it names, and
// makes each session safe in the fd store before it does anything else with it.
// It may run again and again over the same sessions, because the kernel hands
// out a file of an open session as often as it is asked.
package restorer
