package coordinator

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/storeview"
	"github.com/liveupdate/luod/kexec/verdict"
	"github.com/liveupdate/luod/luod/internal/nextkernel"
)

func TestTheChecksTellOfServicesToo(t *testing.T) {
	socket := storeview.Stored{Name: "listen", Path: "socket:[7]", Type: unix.S_IFSOCK}
	for name, c := range map[string]struct {
		declare  string
		more     []storeview.Stored
		verdicts []verdict.Verdict
		text     string
	}{
		"all is well":        {"Preserve=fdstore\n", nil, []verdict.Verdict{verdict.OK, verdict.OK, verdict.OK}, "2 entries of 1 units come along"},
		"a socket":           {"Preserve=fdstore\n", []storeview.Stored{socket}, []verdict.Verdict{verdict.OK, verdict.Fail, verdict.OK}, "socket:[7]"},
		"made anew":          {"Preserve=fdstore\nRecreate=sockets\n", []storeview.Stored{socket}, []verdict.Verdict{verdict.OK, verdict.OK, verdict.OK}, `3 entries of 1 units come along; re-created: "listen" of a.service (socket:[7])`},
		"could be made anew": {"Preserve=fdstore\n", []storeview.Stored{socket}, []verdict.Verdict{verdict.OK, verdict.Fail, verdict.OK}, "with Recreate=sockets in its unit file"},
		"an optional socket": {"Preserve=fdstore\nOnFailure=ignore\n", []storeview.Stored{socket}, []verdict.Verdict{verdict.OK, verdict.Warn, verdict.OK}, "socket:[7]"},
		"a wrong unit file":  {"TimeoutSec=soon\n", nil, []verdict.Verdict{verdict.Fail, verdict.OK}, "TimeoutSec=soon"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.declare(a, c.declare)
			w.keeps(a, 2)
			s := w.stores[a]
			s.Entries = append(s.Entries, c.more...)
			w.stores[a] = s
			report, err := w.c.Check(ctx, nextkernel.Request{Entry: "/k"})
			if err != nil {
				t.Fatal(err)
			}
			var verdicts []verdict.Verdict
			text := ""
			for _, r := range report.Results {
				verdicts, text = append(verdicts, r.Verdict), text+r.Reason
			}
			if !slices.Equal(verdicts, c.verdicts) || !strings.Contains(text, c.text) {
				t.Errorf("%v, %s", verdicts, text)
			}
		})
	}
}
