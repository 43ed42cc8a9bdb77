// Package packer puts what units handed over into LUO sessions, with a manifest
// beside them. One session per unit, and several for a unit with many files,
// because the kernel looks a token up in a linear list. Either everything is
// preserved or nothing is: on an error the sessions are closed again, which
// un-preserves their files.
package packer
