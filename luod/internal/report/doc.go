// Package report is what became of every descriptor in a live update: it is made when the
// next kernel's luod has restored what it can, noted in /run, and kept in a directory of
// earlier ones when every unit has fetched its own. It knows neither luod's state nor PID 1.
package report
