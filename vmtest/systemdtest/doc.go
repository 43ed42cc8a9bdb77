// Package systemdtest boots a real systemd without a virtual machine: as PID 1 of namespaces of its own, in one of the
// lab's Debian trees, in a second. Units and programs are laid over the tree, which is never written to, and scripts run inside. For
// what PID 1 decides that is as good as a machine, and a scenario takes seconds.
//
// Its limits: the kernel is this machine's, so that there is no /dev/liveupdate and no kexec; there is no udev, only the
// /dev of a container; and cgroup controllers may be missing, so that MemoryMax= and the like do nothing. What needs those is tested in
// a virtual machine.
//
// With [BootLuod] there is luod in it, whose kernel is a fake that lives outside and jumps at the very end of a shutdown: a live
// update without a machine, in five seconds.
//
// It needs root. A test that ends, or is killed, leaves nothing running and nothing mounted: all lives in namespaces that
// end with their PID 1, and that is killed with the thread that started it. A killed test leaves an empty cgroup, which the next one
// removes.
package systemdtest
