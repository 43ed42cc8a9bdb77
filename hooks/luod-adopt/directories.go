package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/hooks/internal/patience"
	"github.com/liveupdate/luod/hooks/internal/treearchive"
	"github.com/liveupdate/luod/internal/entryname"
	"github.com/liveupdate/luod/internal/helperprotocol"
	"github.com/liveupdate/luod/internal/memfd"
)

// tmpfsMagic is TMPFS_MAGIC of linux/magic.h.
const tmpfsMagic = 0x01021994

// runDirectories packs each directory into a memfd and hands it over. How long it
// takes to pack is bounded only by what PID 1 lets the whole take (StopTimeoutSec= of
// luod.conf(5)).
func runDirectories(args []string) error { return handOverDirectories(args, pack, helperprotocol.Dial) }

// handOverDirectories packs each directory before it begins a conversation about it,
// since luod waits for nobody who is silent.
func handOverDirectories(args []string, pack func(path string) (*os.File, error), dial dialer) error {
	for _, arg := range args {
		unit, path, ok := strings.Cut(arg, "=")
		if !ok {
			return fmt.Errorf("%q is not UNIT=PATH", arg)
		}
		f, err := pack(path)
		if err != nil {
			return err
		}
		err = dial.converse(func(luod *helperprotocol.Conversation) error {
			return luod.Tell(helperprotocol.Message{Request: helperprotocol.Adopt, Unit: unit, Names: []string{entryname.DirectoryName(path)}}, []*os.File{f})
		})
		f.Close()
		if err != nil {
			return fmt.Errorf("hand the directory %s of %s over: %w", path, unit, err)
		}
	}
	return nil
}

// checkDirectories says what keeps a directory from being packed, as far as that shows
// while its unit still runs.
func checkDirectories(args []string) error {
	for _, arg := range args {
		_, path, ok := strings.Cut(arg, "=")
		if !ok {
			return fmt.Errorf("%q is not UNIT=PATH", arg)
		}
		if err := onTmpfs(path); err != nil {
			return err
		}
		if err := treearchive.Check(path); err != nil {
			return withRemedy(err)
		}
	}
	return nil
}

func withRemedy(err error) error {
	if errors.Is(err, treearchive.ErrNotRestorable) {
		return fmt.Errorf("%w; remove it, or name in Directories= only directories without such", err)
	}
	return err
}

func onTmpfs(path string) error {
	st, err := patience.Within(patience.Limit, func() (st unix.Statfs_t, err error) {
		err = unix.Statfs(path, &st)
		return st, err
	})
	if err != nil {
		return fmt.Errorf("pack %s: %w", path, err)
	}
	if st.Type != tmpfsMagic {
		return fmt.Errorf("pack %s: it is on no tmpfs, and comes through by itself", path)
	}
	return nil
}

// pack returns a sealed memfd with the directory at path.
func pack(path string) (*os.File, error) {
	if err := onTmpfs(path); err != nil {
		return nil, err
	}
	// A half is left for what else runs, and for the next kernel.
	limit, err := available()
	if err != nil {
		return nil, err
	}
	limit /= 2
	f, err := memfd.New("luod-directory")
	if err != nil {
		return nil, fmt.Errorf("pack %s: %w", path, err)
	}
	if err := treearchive.Pack(f, path, limit); err != nil {
		f.Close()
		if errors.Is(err, treearchive.ErrTooLarge) {
			err = fmt.Errorf("%w: at most a half of the available memory may be packed, %d bytes", err, limit)
		}
		return nil, withRemedy(err)
	}
	if err := memfd.Seal(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("pack %s: %w", path, err)
	}
	return f, nil
}

// available is MemAvailable of proc_meminfo(5), in bytes.
func available() (int64, error) {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return 0, fmt.Errorf("find out how much memory is available: %w", err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var kib int64
		if n, _ := fmt.Sscanf(lines.Text(), "MemAvailable: %d kB", &kib); n == 1 {
			return kib << 10, nil
		}
	}
	return 0, errors.New("find out how much memory is available: the kernel does not say")
}
