// Package coordinator is the heart of luod: it owns the state of this machine's
// live update and decides what may happen when. One goroutine holds the state,
// everything else sends it events and waits with a context. What must outlive a
// killed luod is in the fd store and in a record under /run, and what must
// outlive the kernel is in the manifest.
package coordinator
