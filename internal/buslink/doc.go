// Package buslink is what luod-bus and luod say to each other over a socket: JSON, with
// file descriptors beside it. luod-bus passes on what is called on the bus, one message a
// call, and luod answers each by its number, in any order, and tells what is news. luod
// believes of a caller what its own look at the process says; see [Caller].
package buslink
