// Package loader has kernels checked and loaded by luod-kexec, a process of its
// own for each request. It bounds how long that takes and what it may say. What it
// asks the kernel itself is only whether something is loaded.
package loader
