// Package pid1 asks the service manager for what only it can do: shut down into
// the loaded kernel. Before that it says whether luod, which must keep its
// sessions open to the very end, would live that long on this system. It speaks
// over PID 1's private socket, so that it needs no bus.
package pid1
