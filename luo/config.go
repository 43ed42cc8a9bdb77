package luo

import (
	"compress/gzip"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// maxConfig bounds what a configuration may unpack to; real ones have some
// 300 KiB.
const maxConfig = 4 << 20

// runningConfig returns the running kernel's build configuration, or "" where it
// is not to be found: CONFIG_IKCONFIG_PROC gives the first place, distributions
// the second. It never changes, and unpacking it takes a while, so it is read once.
var runningConfig = sync.OnceValue(func() string {
	if config := gzippedConfig("/proc/config.gz"); config != "" {
		return config
	}
	config, _ := os.ReadFile("/boot/config-" + runningRelease())
	return string(config)
})

func runningRelease() string {
	var u unix.Utsname
	_ = unix.Uname(&u)
	return unix.ByteSliceToString(u.Release[:])
}

func gzippedConfig(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return ""
	}
	config, err := io.ReadAll(io.LimitReader(z, maxConfig))
	if err != nil {
		return ""
	}
	return string(config)
}
