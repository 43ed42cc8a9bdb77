// Package lab builds what the virtual machines of the tests are made of, and keeps it: two kernels with the Live Update
// Orchestrator, Debian root filesystems, boot entries, and disk images with luod installed from its .deb.
//
// Everything lies in one cache directory, $LUOD_LAB_CACHE or $XDG_CACHE_HOME/luod (~/.cache/luod). An artefact's name
// holds the hash of what it is made from, so a change makes a new one and nothing is ever out of date. Two runs at once
// wait for each other, artefact by artefact.
//
// These environment variables are looked at:
//
//	LUOD_LAB_CACHE    the cache directory
//	LUOD_LAB_KERNELS  a directory with vmlinuz-* files to use in place of building kernels
//	LUOD_LAB_REFRESH  set to 1: look again for the newest kernel versions, though those that were chosen are built
//
// The first build needs root, a Debian mirror that the machine's apt knows, and about 20 minutes on two cores. Run
// `go run ./vmtest/cmd/lab build` before the tests: it shows the progress and has no time limit.
package lab
