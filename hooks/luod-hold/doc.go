// Command luod-hold holds the sessions of a live update from the commit until the
// kernel jumps, so that no single process's death loses them when PID 1's fd store has
// ended. It asks luod for duplicates of all of them, says that it has them, and does
// nothing from then on. luod starts and stops it as luod-hold.service.
package main
