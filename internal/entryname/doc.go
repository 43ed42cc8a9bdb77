// Package entryname is how luod calls what it holds for a unit: the names that a unit
// gives itself have no colon; what luod took over itself, from a fd store or of a
// directory, has a prefix that says what it is.
package entryname
