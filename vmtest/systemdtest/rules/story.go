package rules

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// Rule is a row of the table.
type Rule struct {
	Name  string
	Units []Unit
	Steps []Step
	// Ends says that it shuts the system down.
	Ends bool
}

// Step is one step of a story.
type Step func(*Story)

// Story runs a rule on a system.
type Story struct {
	t      testing.TB
	system System
	prefix string
	inodes map[string]uint64
	marks  map[string]string
}

// Run runs a rule; number is its place in [All].
func (r Rule) Run(t *testing.T, system System, number int) {
	s := &Story{t: t, system: system, prefix: prefix(number), inodes: map[string]uint64{}, marks: map[string]string{}}
	for _, step := range r.Steps {
		step(s)
	}
}

func (s *Story) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *Story) named(name string) string { return s.prefix + FullName(name) }

// do is a verb of systemctl.
func do(verb string, units ...string) Step {
	return func(s *Story) {
		s.t.Helper()
		var names []string
		for _, u := range units {
			names = append(names, s.named(u))
		}
		s.must(s.system.Do(verb, names...))
	}
}

func start(units ...string) Step   { return do("start", units...) }
func stop(units ...string) Step    { return do("stop", units...) }
func restart(units ...string) Step { return do("restart", units...) }

var reload = do("daemon-reload")

// define writes a unit's file once more.
func define(u Unit) Step {
	return func(s *Story) {
		s.t.Helper()
		s.must(s.system.Define(own(s.prefix, u)))
	}
}

// tell has a unit's service do something.
func tell(unit string, o Order) Step {
	return func(s *Story) {
		s.t.Helper()
		a, err := s.system.Tell(s.named(unit), o)
		if err == nil && a.Error != "" {
			err = fmt.Errorf("tell %s to do %+v: %s", unit, o, a.Error)
		}
		s.must(err)
		for label, inode := range a.Inodes {
			s.inodes[label] = inode
		}
	}
}

// push stores files in a message each: "NAME" is a memfd of that label, "NAME=LABEL" one of another.
func push(unit string, files ...string) Step {
	return func(s *Story) {
		s.t.Helper()
		for _, f := range files {
			name, label, other := strings.Cut(f, "=")
			if !other {
				label = name
			}
			tell(unit, Order{Push: name, Files: []File{{Label: label}}})(s)
		}
	}
}

// leave has the service end by itself.
func leave(unit string, code int) Step { return tell(unit, Order{Exit: true, Code: code}) }

// On is a version's own expectation. The last whose From is not above the version counts.
type On struct {
	From int
	Want string
}

// want picks an expectation.
func (s *Story) want(want string, on []On) string {
	for _, o := range on {
		if s.system.Version() >= o.From {
			want = o.Want
		}
	}
	return want
}

// expect compares what PID 1 tells of a unit with want: "ACTIVE/SUB ENTRY...", where an ENTRY is as with push and with "(ro)" behind it is for
// reading only. An "unloaded" unit is one that PID 1 had forgotten.
func expect(unit, want string, on ...On) Step {
	return func(s *Story) {
		s.t.Helper()
		want := s.want(want, on)
		var got string
		// What PID 1 does after a job has ended takes a moment.
		for range 20 {
			v, err := s.system.Look(s.named(unit))
			s.must(err)
			got = v.Active + "/" + v.Sub
			if !v.Loaded {
				got = "unloaded"
			}
			if got = strings.TrimSpace(got + " " + s.text(v.Store)); got == want {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
		s.t.Errorf("%s is %q on systemd %d, want %q", unit, got, s.system.Version(), want)
	}
}

// text writes entries with the labels of their files.
func (s *Story) text(entries []Entry) string {
	var list []string
	for _, e := range entries {
		label := fmt.Sprintf("inode:%d", e.Inode)
		for l, inode := range s.inodes {
			if inode == e.Inode {
				label = l
			}
		}
		text := e.Name
		if label != e.Name {
			text += "=" + label
		}
		if e.ReadOnly {
			text += "(ro)"
		}
		list = append(list, text)
	}
	return strings.Join(list, " ")
}

// passed compares what a unit's service was passed at its start.
func passed(unit, want string, on ...On) Step {
	return func(s *Story) {
		s.t.Helper()
		a, err := s.system.Tell(s.named(unit), Order{})
		s.must(err)
		if got, want := s.text(a.Passed), s.want(want, on); got != want {
			s.t.Errorf("%s was passed %q on systemd %d, want %q", unit, got, s.system.Version(), want)
		}
	}
}

// noted compares what a unit's StopPost or Witness noted.
func noted(unit, want string, on ...On) Step {
	return func(s *Story) {
		s.t.Helper()
		entries, err := s.system.Noted(s.named(unit))
		s.must(err)
		if got, want := s.text(entries), s.want(want, on); got != want {
			s.t.Errorf("%s noted %q on systemd %d, want %q", unit, got, s.system.Version(), want)
		}
	}
}

// mark remembers a unit's invocation; moved says that it is another since then.
func mark(unit string) Step {
	return func(s *Story) {
		s.t.Helper()
		v, err := s.system.Look(s.named(unit))
		s.must(err)
		s.marks[unit] = v.InvocationID
	}
}

func moved(unit string) Step {
	return func(s *Story) {
		s.t.Helper()
		was := s.marks[unit]
		mark(unit)(s)
		if now := s.marks[unit]; now == was || now == "" || was == "" {
			s.t.Errorf("the invocation of %s was %q and is %q", unit, was, now)
		}
	}
}

// anyOrder compares what is in a unit's store whatever its order.
func anyOrder(unit string, want ...string) Step {
	return func(s *Story) {
		s.t.Helper()
		v, err := s.system.Look(s.named(unit))
		s.must(err)
		got := strings.Fields(s.text(v.Store))
		slices.Sort(got)
		if !slices.Equal(got, want) {
			s.t.Errorf("%s has %q on systemd %d, want %q in any order", unit, got, s.system.Version(), want)
		}
	}
}

// shuffled says that what a unit has stored in one message is all there, and neither in the order of the message nor the other way
// around; of 13 that happens by chance once in three thousand million times.
func shuffled(unit, letters string) Step {
	return func(s *Story) {
		s.t.Helper()
		v, err := s.system.Look(s.named(unit))
		s.must(err)
		var got []string
		for _, e := range v.Store {
			got = append(got, strings.TrimPrefix(s.text([]Entry{e}), e.Name+"="))
		}
		want := strings.Split(letters, "")
		straight := slices.Equal(got, want)
		slices.Reverse(got)
		straight = straight || slices.Equal(got, want)
		if sorted := slices.Sorted(slices.Values(got)); straight || !slices.Equal(sorted, want) {
			s.t.Errorf("%s has %q on systemd %d, want those of %q in no order", unit, got, s.system.Version(), letters)
		}
	}
}

var softReboot Step = func(s *Story) { s.must(s.system.SoftReboot()) }

var shutdown Step = func(s *Story) { s.must(s.system.Shutdown()) }
