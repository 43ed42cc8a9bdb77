// Package busbackend is luod's side of the bus: it answers luod-bus, which has read what
// somebody called and passes it on, and tells it what is to be said. Whose a call is it
// finds out by itself, from a pidfd; only that polkit has allowed something it believes
// luod-bus. What comes over the socket is bounded in size and number, and who is slow to
// listen holds up nobody.
package busbackend
