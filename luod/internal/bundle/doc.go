// Package bundle packs many descriptors into one entry of luod's fd store, since PID 1
// compares every new entry with all the others: a socket in whose queue they lie. What
// is in a bundle is read without emptying it, so that a kill loses nothing. The
// descriptors in flight are on the account of a user that nobody is.
package bundle
