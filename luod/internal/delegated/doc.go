// Package delegated has the sessions that units fill and empty themselves: luod makes them,
// keeps them alive over its own restarts and over the update, and lends them to their unit.
// The record tells which there are; this has them open.
package delegated
