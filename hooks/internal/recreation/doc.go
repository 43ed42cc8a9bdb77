// Package recreation describes what no kernel carries so that it can be made anew,
// and makes it anew from the description: regular files, and sockets that listen or
// are bound. It refuses to describe what would come back as something else, and to
// make what is not there any more as it was.
package recreation
