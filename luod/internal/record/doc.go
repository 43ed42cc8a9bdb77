// Package record is what a restarted luod has to know of its predecessor in the same boot:
// one file in /run, which a new boot starts without. It is replaced in one step, before
// whatever it tells of is done. It decides nothing; luod-jump reads the phase of it by
// package phase.
package record
