package main

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/recipe"
)

// unitStore plays the unit's store, and makes things anew as memfds.
type unitStore struct {
	t      *testing.T
	pushed []string
	made   int
	fail   error
	// max is how many entries it takes; what is pushed beyond that is gone without a
	// word, as PID 1 does (src/core/service.c: service_add_fd_store). 0 takes any.
	max     int
	entries map[memfdName]int
	count   int
}

// keep is what PID 1 does with a descriptor.
func (s *unitStore) keep(name string, f *os.File) bool {
	if s.max > 0 && s.count >= s.max {
		return false
	}
	if s.entries == nil {
		s.entries = map[memfdName]int{}
	}
	s.entries[entry{name, f}.id()]++
	s.count++
	return true
}

func (s *unitStore) Barrier(context.Context) error { return nil }

func (s *unitStore) look() (contents, error) {
	most := s.max
	if most == 0 {
		most = 512
	}
	return contents{max: uint32(most), count: uint32(s.count), entries: maps.Collect(maps.All(s.entries))}, nil
}

// deliver puts files back into s, of which those that are called table have to get into
// the store.
func (s *unitStore) deliver(names []string, files []*os.File, present func() (*known, error)) error {
	return delivery{
		unit: "a.service", store: s, host: s, names: names, files: files, present: present, look: s.look,
		needed: func(name string) bool { return name == "table" },
	}.putBack(context.Background())
}

// Push notes the name, the contents, the access mode and the position.
func (s *unitStore) Push(name string, files ...*os.File) error {
	for _, f := range files {
		if !s.keep(name, f) {
			continue
		}
		text := make([]byte, 100)
		n, _ := unix.Pread(int(f.Fd()), text, 0)
		flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
		if err != nil {
			s.t.Fatal(err)
		}
		at, err := f.Seek(0, 1)
		if err != nil {
			s.t.Fatal(err)
		}
		s.pushed = append(s.pushed, fmt.Sprintf("%s=%s/%d/%d", name, text[:n], flags&unix.O_ACCMODE, at))
	}
	return nil
}

func (s *unitStore) Make(d recipe.Recipe) (*os.File, error) {
	s.made++
	if s.fail != nil && s.made > 1 {
		return nil, s.fail
	}
	return filled(s.t, d.String()), nil
}

func filled(t *testing.T, text string) *os.File {
	t.Helper()
	fd, err := unix.MemfdCreate("x", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), text)
	if _, err := f.WriteAt([]byte(text), 0); err != nil {
		t.Fatal(err)
	}
	return f
}

func described(t *testing.T, d recipe.Recipe) *os.File {
	t.Helper()
	f, err := d.Memfd()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func abstract(name string) recipe.Recipe {
	return recipe.Recipe{Socket: &recipe.Socket{Family: unix.AF_UNIX, Type: unix.SOCK_STREAM, Abstract: []byte(name), Backlog: 1}}
}

func sharing(of string, flags int, offset int64) recipe.Recipe {
	return recipe.Recipe{Same: &recipe.Same{Of: of, Flags: flags, Offset: offset}}
}

func countFDs(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestEntriesArePutBackInOrder(t *testing.T) {
	table := filled(t, "table")
	names := []string{"own", "store:0:table", "recreate:1:listen", "same:2:table", "same:3:reader", "recreate:4:listen"}
	files := []*os.File{
		filled(t, "mine"), table, described(t, abstract("one")), described(t, sharing("store:0:table", os.O_RDWR, 3)),
		described(t, sharing("store:0:table", os.O_RDONLY, 5)), described(t, abstract("two")),
	}
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	var st unix.Stat_t
	if err := unix.Fstat(int(table.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	of := func(name string, n int) map[memfdName]int { return map[memfdName]int{{name, st.Dev, st.Ino}: n} }
	mine, one, again, reader, two := "own=mine/2/0", "listen=stream socket @one/2/0", "table=table/2/3", "reader=table/0/5", "listen=stream socket @two/2/0"
	base := "table=table/2/0"
	for name, c := range map[string]struct {
		there known
		want  []string
	}{
		"nothing is there":           {known{}, []string{base, one, again, reader, two, mine}},
		"all is there":               {known{[]named{{"listen", abstract("two")}, {"listen", abstract("one")}}, map[memfdName]int{{"table", st.Dev, st.Ino}: 2, {"reader", st.Dev, st.Ino}: 1}}, []string{base, mine}},
		"one socket is there":        {known{[]named{{"listen", abstract("two")}}, nil}, []string{base, one, again, reader, mine}},
		"of another name":            {known{[]named{{"other", abstract("two")}}, nil}, []string{base, one, again, reader, two, mine}},
		"the memfd alone is there":   {known{nil, of("table", 1)}, []string{base, one, again, reader, two, mine}},
		"the memfd is there twice":   {known{nil, of("table", 2)}, []string{base, one, reader, two, mine}},
		"the reader's is there":      {known{nil, of("reader", 1)}, []string{base, one, again, two, mine}},
		"another memfd of that name": {known{nil, map[memfdName]int{{"reader", st.Dev, st.Ino + 1}: 1}}, []string{base, one, again, reader, two, mine}},
	} {
		t.Run(name, func(t *testing.T) {
			before := countFDs(t)
			s := &unitStore{t: t}
			if err := s.deliver(names, files, func() (*known, error) { return &c.there, nil }); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(s.pushed, c.want) {
				t.Errorf("pushed\n%q and not\n%q", s.pushed, c.want)
			}
			if after := countFDs(t); after != before {
				t.Errorf("%d file descriptors before, %d after", before, after)
			}
		})
	}
}

func TestAFailureLeavesTheStoreAsItWas(t *testing.T) {
	for name, c := range map[string]struct {
		name string
		f    *os.File
		s    unitStore
		look error
		why  string
	}{
		"it can't be made":       {"recreate:1:listen", described(t, abstract("one")), unitStore{fail: errors.New("bind it: address already in use")}, nil, `put "listen" back: bind it: address already in use; luod keeps`},
		"no description":         {"recreate:1:listen", filled(t, "junk"), unitStore{}, nil, "sealed"},
		"a socket as memfd":      {"same:1:listen", described(t, abstract("one")), unitStore{}, nil, "is described as"},
		"a memfd as socket":      {"recreate:1:x", described(t, sharing("store:0:table", 0, 0)), unitStore{}, nil, "is described as"},
		"its memfd did not come": {"same:1:x", described(t, sharing("store:9:table", 0, 0)), unitStore{}, nil, "store:9:table, did not come"},
		"PID 1 is silent":        {"recreate:1:listen", described(t, abstract("one")), unitStore{}, errors.New("ptrace_scope"), "ptrace_scope"},
	} {
		t.Run(name, func(t *testing.T) {
			c.s.t = t
			table := filled(t, "table")
			defer table.Close()
			defer c.f.Close()
			last := described(t, abstract("last"))
			defer last.Close()
			before := countFDs(t)
			err := c.s.deliver([]string{"recreate:7:first", "store:0:table", c.name}, []*os.File{last, table, c.f}, func() (*known, error) { return &known{}, c.look })
			if err == nil || !strings.Contains(err.Error(), c.why) {
				t.Errorf("got %v", err)
			}
			if len(c.s.pushed) > 0 {
				t.Errorf("pushed %q", c.s.pushed)
			}
			if after := countFDs(t); after != before {
				t.Errorf("%d file descriptors before, %d after", before, after)
			}
		})
	}
}

// Who has nothing that is made anew doesn't have PID 1 looked into.
func TestMemfdsAloneNeedNoLook(t *testing.T) {
	f := filled(t, "x")
	defer f.Close()
	s := &unitStore{t: t}
	if err := s.deliver([]string{"store:0:x"}, []*os.File{f}, nil); err != nil || len(s.pushed) != 1 {
		t.Errorf("%q, %v", s.pushed, err)
	}
}

// What the store has no room for is an error, and not somebody's loss: PID 1 says
// nothing. What the unit has given luod itself goes there only as far as there is room.
func TestWhatTheStoreHasNoRoomFor(t *testing.T) {
	for name, c := range map[string]struct {
		names  []string
		max    int
		before int
		pushed int
		why    string
	}{
		"all fit":                             {[]string{"store:0:a", "store:1:b", "own"}, 3, 0, 3, ""},
		"its own doesn't fit":                 {[]string{"own", "store:0:a", "store:1:b"}, 2, 0, 2, ""},
		"one entry doesn't fit":               {[]string{"store:0:a", "store:1:b"}, 1, 0, 1, `"b" did not get into the fd store: a.service has FileDescriptorStoreMax=1`},
		"no entry fits":                       {[]string{"store:0:a"}, 2, 2, 0, `"a" did not`},
		"a memfd that the unit needs doesn't": {[]string{"store:0:a", "table"}, 1, 0, 1, `"table" did not`},
		"only its own, and none fits":         {[]string{"own", "other"}, 4, 4, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := &unitStore{t: t, max: c.max, count: c.before}
			var files []*os.File
			for _, name := range c.names {
				f := filled(t, name)
				defer f.Close()
				files = append(files, f)
			}
			err := s.deliver(c.names, files, nil)
			if (err == nil) != (c.why == "") || err != nil && !strings.Contains(err.Error(), c.why) {
				t.Errorf("got %v, want %q", err, c.why)
			}
			if len(s.pushed) != c.pushed {
				t.Errorf("pushed %q", s.pushed)
			}
		})
	}
}

// A PID 1 that tells only how many there are is believed that.
func TestAnOlderPID1OnlyCounts(t *testing.T) {
	f := filled(t, "x")
	defer f.Close()
	for count, missing := range map[uint32]bool{1: true, 2: false, 3: false} {
		err := contents{max: 3, count: count}.missing("a.service", []entry{{"a", f}, {"b", f}})
		if (err != nil) != missing {
			t.Errorf("of 2 entries and %d in the store: %v", count, err)
		}
	}
}

// What can't be put back doesn't keep the unit from starting, and is said.
func TestADirectoryWithADeviceNodeIsPutBackWithoutIt(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := tar.NewWriter(f)
	for _, h := range []tar.Header{
		{Name: "null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3},
		{Name: "sub", Typeflag: tar.TypeDir, Mode: 0o755, Uid: os.Getuid(), Gid: os.Getgid()},
	} {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	said, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer said.Close()
	dir := t.TempDir()
	stderr := os.Stderr
	os.Stderr = said
	err = unpack(f, dir)
	os.Stderr = stderr
	text, _ := os.ReadFile(said.Name())
	if _, missing := os.Stat(dir + "/sub"); err != nil || missing != nil || !strings.Contains(string(text), `"null" in the directory `+dir) {
		t.Errorf("%v, %v, it said %q", err, missing, text)
	}
}
