// Package deadfs is, for tests, a file system that answers until it is told not to:
// what a caller can hand over of one that is made to hang whoever looks at it, and
// what a server on the network that is gone looks like. It is a FUSE file system of
// one file, served by the test itself, which notes what it is asked.
package deadfs
