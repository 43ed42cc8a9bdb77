// Package machine runs one virtual machine of the lab: QEMU without hardware acceleration, with a console that is
// logged and an agent inside that runs the test's scripts, in each boot again.
//
// A machine that resets or powers off is gone: QEMU ends, and every call that waits for the machine fails at once, with
// the end of the console in its error. Only a kexec leads to another boot.
//
// QEMU never outlives the process that started it. Processes take turns, so that two test binaries do not slow each other
// down until their machines' timeouts strike; see slot.go.
package machine
