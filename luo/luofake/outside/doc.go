// Package outside has a fake kernel live outside of the system that uses it: a test serves one on a socket, and a luod in
// another PID namespace uses it as its driver. When that system ends, the kernel is still there, and a new system boots on the next
// one: a jump.
//
// The socket carries one question a connection, with the descriptors that go with it.
package outside
