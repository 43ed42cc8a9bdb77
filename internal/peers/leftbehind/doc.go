// Package leftbehind makes connections that the processes which made them leave to the
// test, and processes that get the PIDs of those that are gone. It is for tests, which
// need root for the latter.
package leftbehind
