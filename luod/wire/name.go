package wire

import (
	"fmt"
	"strings"
)

// storePrefix begins the name of a file that was taken out of a unit's fd store,
// where several may have one name. No name that a service gives has a colon.
const storePrefix = "store:"

// StoreName is what luod calls the i-th file that came out of a unit's fd store.
func StoreName(i int, name string) string { return fmt.Sprintf("%s%d:%s", storePrefix, i, name) }

// FromStore says whether name is one of those.
func FromStore(name string) bool { return strings.HasPrefix(name, storePrefix) }

// PlainName is what the file was called in the store, or name.
func PlainName(name string) string {
	if !FromStore(name) {
		return name
	}
	_, plain, _ := strings.Cut(strings.TrimPrefix(name, storePrefix), ":")
	return plain
}
