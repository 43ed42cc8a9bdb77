package client

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What luod had before a call, it has after it, whatever becomes of the call.
func TestWhatWasPreservedEarlierStays(t *testing.T) {
	names, files := memfds(t, 41)
	earlier := func(m *manager, name string, f *os.File) {
		fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		m.names = append(m.names, name)
		m.files[name] = os.NewFile(uintptr(fd), name)
	}
	all := func(m *manager, n int) {
		for i := range n {
			earlier(m, names[i], files[i])
		}
	}
	for _, one := range []struct {
		name string
		// before is what luod has, and trouble what the calls meet.
		before  func(m *manager)
		trouble []trouble
		count   int
		// fails is the error, and stays what luod has in the end, of how many names.
		fails string
		stays int
	}{
		{"nobody answers", func(m *manager) { earlier(m, names[0], files[40]) }, []trouble{{stays: true}}, 1, "deadline", 1},
		{"nobody answers, the same file", func(m *manager) { all(m, 1) }, []trouble{{stays: true}}, 1, "", 1},
		{"nobody answers, late", func(*manager) {}, []trouble{{stays: true, late: true}}, 1, "", 1},
		{"luod goes away, another file", func(m *manager) { earlier(m, names[0], files[40]) }, []trouble{{}}, 1, "NameInUse", 1},
		{"luod goes away, came through an update", func(m *manager) { all(m, 1); m.states[names[0]] = "fetched" }, []trouble{{}}, 1, "NameInUse", 1},
		{"luod goes away, some of them", func(m *manager) { all(m, 2) }, []trouble{{}}, 5, "NameInUse", 2},
		{"luod goes away in the first part", func(*manager) {}, []trouble{{}}, 40, "", 40},
		{"luod goes away after the first part", func(*manager) {}, []trouble{{late: true}}, 40, "", 40},
		{"at the limit", func(m *manager) { m.limit = 5 }, []trouble{{late: true}}, 5, "", 5},
		{"the same files, and another part is refused", func(m *manager) { all(m, 16); earlier(m, "other", files[20]) }, []trouble{{}}, 40, "FileInUse", -1},
		{"another part is refused", func(m *manager) { earlier(m, "other", files[20]) }, []trouble{{}}, 40, "FileInUse", -1},
		{"another part is refused, and luod stays", func(m *manager) { earlier(m, "other", files[20]) }, nil, 40, "FileInUse", 1},
		{"another part is refused, and one may be ours", func(m *manager) { earlier(m, "other", files[39]) }, []trouble{{late: true}}, 40, "stay as they are", -1},
	} {
		t.Run(one.name, func(t *testing.T) {
			t.Parallel()
			c, m := connectQuietly(t)
			var had []string
			m.with(func() {
				one.before(m)
				had = slices.Clone(m.names)
				m.trouble["Preserve"] = one.trouble
			})
			ctx := within(t)
			if strings.HasPrefix(one.name, "nobody answers") {
				short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
				defer cancel()
				ctx = short
			}
			err := c.Preserve(ctx, names[:one.count], files[:one.count])
			if one.fails == "" && err != nil || one.fails != "" && (err == nil || !strings.Contains(fmt.Sprint(err), one.fails)) {
				t.Errorf("got %v", err)
			}
			m.with(func() {
				for _, name := range had {
					if m.files[name] == nil {
						t.Errorf("%s is gone", name)
					}
				}
				if one.stays >= 0 && len(m.names) != one.stays {
					t.Errorf("in the end luod has %d: %v", len(m.names), m.names)
				}
				// All or none, or else it is said.
				for _, name := range m.names {
					if one.fails != "" && !slices.Contains(had, name) && !strings.Contains(err.Error(), name) {
						t.Errorf("%s stays, and nobody says so: %v", name, err)
					}
				}
			})
		})
	}
}
