// Package inhibitors keeps the locks that programs hold against a live update, or
// to be told before one, as logind keeps its own (systemd: src/login/logind-inhibit.c).
// A lock lasts as long as somebody has the writing end of its FIFO open, so it ends
// with its owner and outlives luod. It decides who may hold one, never what one means.
package inhibitors
