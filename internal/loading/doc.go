// Package loading is what luod and luod-kexec say to each other: one JSON request
// on standard input, one JSON answer on standard output. Kernels, initrds and boot
// entries are read in that process and not in luod, so that a file that breaks a
// parser or takes all memory can't cost what luod holds for the services.
package loading
