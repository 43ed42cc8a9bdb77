// Command luod-jump makes a fast live update's jump: it writes every file system
// out, freezes it so that nothing is half written, and has the kernel boot the
// loaded one, without PID 1 stopping anything first. If the kernel refuses, it
// thaws them again, latest first, and fails with the reason. luod starts it as
// luod-jump.service, since it has not the privileges itself.
package main
