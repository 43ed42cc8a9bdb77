package systemdtest

import (
	"context"
	"sync"
	"testing"

	"github.com/liveupdate/luod/vmtest/lab"
)

var (
	programsLock sync.Mutex
	programs     = map[string]lab.File{}
)

// Program compiles a command of this module for [Options.Files], once in a test's process. It lies in /usr/lib/luod-lab.
func Program(t testing.TB, pkg string) lab.File {
	t.Helper()
	programsLock.Lock()
	defer programsLock.Unlock()
	f, done := programs[pkg]
	if !done {
		var err error
		if f, err = lab.GuestProgram(context.Background(), pkg); err != nil {
			t.Fatal(err)
		}
		programs[pkg] = f
	}
	return f
}
