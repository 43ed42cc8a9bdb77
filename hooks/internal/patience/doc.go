// Package patience bounds the wait for a file system, which no system call does by
// itself: on FUSE, or on a server that is gone, most wait until they are answered.
package patience
