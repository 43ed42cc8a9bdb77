package coordinator

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/liveupdate/luod/internal/entryname"
	"github.com/liveupdate/luod/internal/phase"
	"github.com/liveupdate/luod/kexec/verdict"
	"github.com/liveupdate/luod/luod/internal/nextkernel"
	"github.com/liveupdate/luod/luod/internal/pid1"
	"github.com/liveupdate/luod/luod/internal/record"
)

// What PID 1 would not let luod-reissue put back is refused before anything happens,
// by the check too; or is left behind where the unit says so.
func TestAStoreThatCouldNotBePutBackIsRefused(t *testing.T) {
	fine := pid1.Reissue{Runs: true, NotifyAccess: "exec", StoreMax: 512}
	for name, c := range map[string]struct {
		reissue pid1.Reissue
		// entries are in the store, which PID 1 carries itself if it is native.
		entries      int
		native, fast bool
		why          string
	}{
		"all is well":            {reissue: fine, entries: 2},
		"all may notify":         {reissue: pid1.Reissue{Runs: true, NotifyAccess: "all", StoreMax: 1}, entries: 2},
		"only the main process":  {reissue: pid1.Reissue{Runs: true, NotifyAccess: "main", StoreMax: 512}, entries: 2, why: "NotifyAccess=main"},
		"nobody may notify":      {reissue: pid1.Reissue{Runs: true, NotifyAccess: "none", StoreMax: 512}, entries: 2, why: "NotifyAccess=none"},
		"no room":                {reissue: pid1.Reissue{Runs: true, NotifyAccess: "exec"}, entries: 2, why: "FileDescriptorStoreMax=0"},
		"no luod-reissue":        {reissue: pid1.Reissue{NotifyAccess: "exec", StoreMax: 512}, entries: 2, why: "not in its ExecStartPre="},
		"none, and nothing":      {reissue: pid1.Reissue{NotifyAccess: "exec", StoreMax: 512}},
		"it would fail":          {reissue: pid1.Reissue{Runs: true, NotifyAccess: "main", StoreMax: 512}, why: "NotifyAccess=main"},
		"PID 1 carries it":       {reissue: pid1.Reissue{NotifyAccess: "main", StoreMax: 512}, entries: 2, native: true},
		"and luod-reissue fails": {reissue: pid1.Reissue{Runs: true, NotifyAccess: "main", StoreMax: 512}, entries: 2, native: true, why: "NotifyAccess=main"},
		"but not when it's fast": {reissue: pid1.Reissue{NotifyAccess: "main", StoreMax: 512}, entries: 2, native: true, fast: true, why: "not in its ExecStartPre="},
	} {
		t.Run(name, func(t *testing.T) {
			world := func(declare string) *world {
				w := newWorld(t)
				w.declare(a, "Preserve=fdstore\n"+declare)
				w.keeps(a, c.entries)
				s := w.stores[a]
				s.Native = c.native
				w.stores[a] = s
				if c.entries == 0 {
					w.stores = nil // PID 1 has an empty one, and tells nothing of it
				}
				w.reissues = map[string]pid1.Reissue{a: c.reissue}
				w.load()
				return w
			}
			w := world("")
			report, err := w.c.Check(ctx, nextkernel.Request{Entry: "/k"})
			if err != nil {
				t.Fatal(err)
			}
			failed := slices.ContainsFunc(report.Results, func(r verdict.Result) bool {
				return r.Verdict == verdict.Fail && strings.Contains(r.Reason, a) && strings.Contains(r.Reason, c.why) && strings.Contains(r.Reason, "'luoctl enable "+a+"'")
			})
			if want := c.why != "" && !c.fast; failed != want { // the check is of an orderly one
				t.Errorf("the check says %+v", report.Results)
			}
			_, err = w.c.LiveUpdate(ctx, record.Options{Fast: c.fast})
			if c.why == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			w.expectFault(err, "WouldNotSurvive")
			if !strings.Contains(err.Error(), a) || !strings.Contains(err.Error(), c.why) || !strings.Contains(err.Error(), "'luoctl enable "+a+"'") {
				t.Errorf("got %v", err)
			}
			w.until(phase.Idle)
			if len(w.halted) != 0 {
				t.Errorf("%q were stopped", w.halted)
			}

			w = world("OnFailure=ignore\n")
			w.adopting = func(string, []string) error { return errors.New("nothing shall be taken over") }
			if _, err := w.c.LiveUpdate(ctx, record.Options{Fast: c.fast}); err != nil {
				t.Fatal(err)
			}
			w.reboot()
			if s := w.status(); len(s.LeftBehind) != 1 || s.LeftBehind[0].Unit != a || !strings.Contains(s.LeftBehind[0].Reason, c.why) {
				t.Errorf("%+v", s)
			}
		})
	}
}

// Directories are put back by luod-reissue as well.
func TestDirectoriesThatCouldNotBePutBackAreRefused(t *testing.T) {
	w := newWorld(t)
	w.declare(a, "Preserve=fdstore\nDirectories=/run/a\n")
	w.reissues = map[string]pid1.Reissue{a: {NotifyAccess: "exec", StoreMax: 512}}
	w.load()
	_, err := w.c.LiveUpdate(ctx, record.Options{})
	w.expectFault(err, "WouldNotSurvive")
	w.until(phase.Idle)
	if len(w.halted) != 0 {
		t.Errorf("%q were stopped", w.halted)
	}
}

// What PID 1 removes at a stop would be gone before it is packed, and after an update that
// is taken back.
func TestDirectoriesThatAStopRemovesAreRefused(t *testing.T) {
	for _, optional := range []string{"", "OnFailure=ignore\n"} {
		for removed, why := range map[string]string{"/run/a": "/run/a/b", "/run/a/b": "/run/a/b", "/run/a/b/c": "/run/a/b", "/run/a/bc": "", "": ""} {
			w := newWorld(t)
			w.declare(a, "Preserve=fdstore\nDirectories=/run/a/b\n"+optional)
			w.keeps(a, 1)
			stores := w.adopting
			w.adopting = func(caller string, args []string) error {
				if args[0] != "--directories" {
					return stores(caller, args)
				}
				return w.c.Adopt(ctx, caller, a, []string{entryname.DirectoryName("/run/a/b")}, []*os.File{memfd(t, "tree")})
			}
			r := pid1.Reissue{Runs: true, NotifyAccess: "exec", StoreMax: 512}
			if removed != "" {
				r.Removed = []string{removed}
			}
			w.reissues = map[string]pid1.Reissue{a: r}
			w.load()
			_, err := w.c.LiveUpdate(ctx, record.Options{})
			if why == "" {
				if err != nil {
					t.Errorf("%s: %v", removed, err)
				}
				continue
			}
			w.expectFault(err, "WouldNotSurvive")
			if !strings.Contains(err.Error(), "RuntimeDirectoryPreserve=yes") || len(w.halted) != 0 {
				t.Errorf("%v; %q were stopped", err, w.halted)
			}
		}
	}
}
