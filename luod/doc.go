// Command luod is the daemon: it takes file descriptors over from services,
// packs them for the next kernel, has PID 1 boot it, and gives every descriptor
// back on the other side. luod.service starts it early and keeps it alive to
// the end of the shutdown. luod(8) is its manual.
package main
