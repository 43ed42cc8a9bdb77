// Package source opens what a target is made of: a kernel image, or what is in a unified one,
// and initrds. What is looked at, hashed and loaded is one and the same, whoever replaces a
// path meanwhile. It parses foreign bytes, so that a process that holds memory does without.
package source
