// Package kexec is what a process needs to know of the kernel that it boots next.
// It puts together what kexec_file_load(2) wants from kernel images, unified
// kernel images and initrds, says what each errno means, and builds a command
// line that lets the next kernel take memory over. What can be booted, and whether
// it can take over, its packages bootentry and preflight say; nothing shells out.
package kexec
