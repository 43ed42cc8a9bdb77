// Command luod-kexec finds, checks and loads the kernel of a live update on
// luod's behalf. It reads one request from standard input, writes one answer to
// standard output, and exits. Nobody else needs to run it: see luoctl(1).
package main
