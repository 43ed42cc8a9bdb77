// Package state is what all owners of luod's state share: the record of this boot with the
// phase, and the two locks under which everything is looked at and changed. There is one
// of it, handed to each of them. It says in which order things are written down, and
// nothing of what they mean.
package state
