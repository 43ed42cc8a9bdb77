// Package vault keeps the descriptors that units have handed to luod. Each is
// held twice: by this process, and in a bundle in luod's own fd store, so that
// a kill at any moment loses none. It decides what may be handed over and names
// the reason where it may not; it preserves nothing, since a preserved memfd
// could no longer grow.
package vault
