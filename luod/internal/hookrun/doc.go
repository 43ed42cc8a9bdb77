// Package hookrun has the hooks of /etc/luod/hooks.d and the like run, by a program of their
// own that PID 1 starts. What they have to hear of an update that is over is noted in the
// record until they have heard it.
package hookrun
