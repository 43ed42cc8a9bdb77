// Package storeview looks into the fd stores of units, by PID 1's own bus
// (org.freedesktop.systemd1(5), DumpUnitFileDescriptorStore, systemd 254), and says of
// each entry what it is. Nothing is taken out, and no descriptor comes here.
package storeview
