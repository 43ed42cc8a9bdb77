// Package rules says what PID 1 does with file descriptor stores, as a table. Each rule is a story of units, of what is
// done to them, and of what PID 1 then tells. The same stories run under the real systemds of the lab's trees (package systemdtest)
// and on luod's fake PID 1 (luod/internal/pid1/fakepid1), so that what the fake does is what PID 1 does.
package rules
