package vault

import (
	"fmt"
	"math"
)

// Limits are what one unit may have. They count when something is handed over, and
// when an update begins; never for what is there again after one.
type Limits struct {
	Files int
	// Bytes is the size of all its files when they are taken over; what they grow
	// by later is the business of the unit's memory limit, until the next update.
	Bytes int64
}

// unlimited is what Bytes is without a limit (settings.Default).
const unlimited = 1 << 60

// noLimits are those of what comes back.
var noLimits = Limits{Files: math.MaxInt, Bytes: math.MaxInt64}

// Over is one limit that a unit is over.
type Over struct {
	Unit string
	// Setting is the limit's name in luod.conf(5), section Quota.
	Setting string
	// Has and Max are in bytes or in files.
	Has, Max int64
}

func (o Over) String() string {
	return fmt.Sprintf("%s has %d %s preserved: at most %d are allowed (%s= of luod.conf)", o.Unit, o.Has, o.what(), o.Max, o.Setting)
}

func (o Over) what() string {
	if o.Setting == bytesMax {
		return "bytes"
	}
	return "file descriptors"
}

// The settings.
const (
	filesMax = "FileDescriptorsMax"
	bytesMax = "BytesMax"
)

// Over returns which units are over which limits, by unit, with the sizes as they
// were when each file was last looked at: see Refresh. A unit gets there when its
// files grow, or when an admin lowers a limit.
func (v *Vault) Over() []Over {
	var list []Over
	for _, unit := range v.Units() {
		h := v.units[unit]
		for _, o := range []Over{
			{unit, filesMax, int64(len(h.files)), int64(v.limits.Files)},
			{unit, bytesMax, h.bytes, v.limits.Bytes},
		} {
			if o.Has > o.Max {
				list = append(list, o)
			}
		}
	}
	return list
}
