package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/liveupdate/luod/internal/sdnotify"
)

// parseMemfd reads NAME:SIZE, where SIZE is a number of bytes, or of KiB, MiB or
// GiB with a suffix as in unit files.
func parseMemfd(text string) (memfd, error) {
	name, size, ok := strings.Cut(text, ":")
	if !ok {
		return memfd{}, fmt.Errorf("%q is not NAME:SIZE", text)
	}
	if err := sdnotify.CheckName(name); err != nil {
		return memfd{}, err
	}
	shift := 0
	if size != "" {
		if i := strings.IndexByte("KMG", size[len(size)-1]); i >= 0 {
			shift = 10 * (i + 1)
			size = size[:len(size)-1]
		}
	}
	n, err := strconv.ParseUint(size, 10, 63)
	if err != nil || n > math.MaxInt64>>shift {
		return memfd{}, fmt.Errorf("%q is not a size in bytes, or with K, M or G", text[len(name)+1:])
	}
	return memfd{name: name, size: int64(n) << shift}, nil
}
