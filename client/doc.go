// Package client is for services written in Go that want to keep their memory
// over a live update: hand memfds to luod, and ask for them at the next start.
// What is handed over stays handed over, through restarts and any number of
// updates, until it is released. luod knows a service by the unit its process
// runs in, so there is nothing to register. luod and the bus may be restarted at any
// time: what is called meanwhile takes a little longer.
package client
