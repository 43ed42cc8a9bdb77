package fdstores

import (
	"fmt"
	"strings"

	"github.com/liveupdate/luod/luod/internal/pid1"
)

// Within returns the first of directories that is one of removed, or has to do with one.
func Within(directories, removed []string) string {
	for _, dir := range directories {
		for _, r := range removed {
			if strings.HasPrefix(dir+"/", r+"/") || strings.HasPrefix(r+"/", dir+"/") {
				return dir
			}
		}
	}
	return ""
}

// Hindrance says why a start of the unit could not put back what luod takes over, if
// it does; and where luod-reissue is to run anyway, why that would fail.
func Hindrance(r pid1.Reissue, taken bool) string {
	switch {
	case !r.Runs && !taken:
		return "" // PID 1 carries it, or there is nothing
	case !r.Runs:
		return "luod-reissue is not in its ExecStartPre="
	case r.NotifyAccess != "exec" && r.NotifyAccess != "all":
		return fmt.Sprintf("it has NotifyAccess=%s, and luod-reissue needs exec or all", r.NotifyAccess)
	case r.StoreMax == 0:
		return "it has FileDescriptorStoreMax=0"
	}
	return ""
}
