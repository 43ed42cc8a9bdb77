// Package rules is a table of what the kernel's Live Update Orchestrator does, each row
// with the source that it comes from. The fake kernel's tests go through it, and so does
// a program in a virtual machine with the real one (vmtest/guest/luorules): where the two
// are not alike, one of them fails. It repeats the kernel's own selftests
// (tools/testing/selftests/liveupdate) and is for tests only.
package rules
