// Command luod-hooks runs an admin's hooks of a live update: the executables in
// the hooks.d directories, one after the other in the order of their names, with
// the phase and the update's generation as arguments. luod has few capabilities
// and has PID 1 start it as luod-hooks-PHASE-GENERATION.service.
//
// The phases:
//
//   - prepare: an update was asked for, and no service was told yet. A hook
//     that fails vetoes the update, and those after it are not run.
//   - commit: everything is packed, and the jump is next. A failure is logged.
//   - cancel: the update was taken back.
//   - restore: the new kernel has given everything back.
package main
