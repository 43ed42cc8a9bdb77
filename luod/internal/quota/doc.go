// Package quota bounds how often one unit or user may call luod, so that nobody
// starves the others of it. It is a bucket of tokens for each, filled with time.
// It forgets whoever has been quiet, and knows nothing of what is called.
package quota
