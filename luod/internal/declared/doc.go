// Package declared is what units say of their part in live updates, in the section
// X-LiveUpdate of their files, as PID 1 has those loaded. It asks PID 1 where they lie and
// reads them.
package declared
