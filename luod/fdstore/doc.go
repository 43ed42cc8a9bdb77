// Package fdstore speaks with the file descriptor store that systemd keeps for
// a unit (sd_notify(3), FDSTORE=1; systemd.service(5), FileDescriptorStoreMax=).
// It pushes and removes entries, waits until PID 1 has taken them, takes over
// what PID 1 hands back at start, and packs many descriptors into one entry as
// a bundle, since PID 1 compares every new entry with all the others. It is
// used by the daemon for its own store and by the reissuing helper for the
// store of the unit it runs in.
package fdstore
