// Package timespan reads time spans as systemd writes them in unit files
// (systemd.time(7)).
package timespan
