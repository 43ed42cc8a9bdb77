// Package memory says how much memory it takes to preserve what is held, and whether
// that is there. While the kernel packs it fills every hole of a memfd and fetches what
// was swapped out, on luod's account and without asking: who hands over a sparse memfd
// of a terabyte could take the machine down. So it is counted before anything is
// stopped.
package memory
