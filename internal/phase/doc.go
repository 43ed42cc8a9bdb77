// Package phase is the state machine of a live update: its phases, what moves it from one
// to the next, and how a program other than luod reads in which it is. luod writes the
// phase into its record before it acts on it. Package record has the rest of that.
package phase
