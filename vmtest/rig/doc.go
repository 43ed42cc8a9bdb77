// Package rig puts a whole live update together in the lab: an image with luod
// from its own Debian package, services with memory in it, and the steps of an
// update with what has to be compared before and after. The scenarios and the
// demo are written with it. It reports what it sees and judges nothing.
package rig
