// Package kexec loads the kernel that a live update boots and has PID 1 boot it.
// It refuses what is no kernel image before anything changes, says what each
// errno of kexec_file_load(2) means, and builds a command line that lets the
// next kernel take memory over. It never shells out.
package kexec
