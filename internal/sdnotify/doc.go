// Package sdnotify speaks with the service manager as sd_notify(3) does: it pushes
// entries into the fd store of the unit that it runs in and removes them (FDSTORE=1;
// systemd.service(5), FileDescriptorStoreMax=), waits until PID 1 has taken them, and
// takes over what PID 1 passes at a start (sd_listen_fds(3)). It only sends: what is
// in a store is seen by package storeview.
package sdnotify
