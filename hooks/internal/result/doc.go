// Package result leaves for luod one line of what went wrong, in the file that
// the program's unit names in $LUOD_RESULT. systemd keeps a unit's status text
// only as long as it keeps the unit, and these units go when they are over. The
// file is replaced in one step, and is not there when all went well.
package result
