// Package coordinator is the heart of luod: it owns the state of this machine's
// live update and decides what may happen when. Whoever looks at the
// state has its lock, under which nothing waits, and whoever changes what luod holds has
// a second one (lock.go). What must outlive a
// killed luod is in the fd store and in a record under /run, and what must
// outlive the kernel is in the manifest.
package coordinator
