// Package nextkernel is the kernel that the next live update boots: what is loaded, by whom,
// and the proof that it still is. A program of its own reads and loads kernels; this says when
// it may, and notes what came of it before anything relies on that.
package nextkernel
