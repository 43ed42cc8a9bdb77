package memory

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/luod/internal/vault"
)

const (
	mib = 1 << 20
	gib = 1 << 30
)

func file(t *testing.T, flags int, size int64, filled, seals int) *vault.File {
	t.Helper()
	fd, err := unix.MemfdCreate("t", unix.MFD_CLOEXEC|flags)
	if errors.Is(err, unix.EINVAL) {
		t.Skip("this kernel has no MFD_NOEXEC_SEAL, which Linux 6.3 brought; those with LUO have it")
	}
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "memfd")
	t.Cleanup(func() { f.Close() })
	if _, err := f.Write(make([]byte, filled)); err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals); seals != 0 && err != nil {
		t.Fatal(err)
	}
	return &vault.File{Unit: "a.service", Name: "x", F: f}
}

func TestWhatAFileNeeds(t *testing.T) {
	for name, c := range map[string]struct {
		flags  int
		size   int64
		filled int
		seals  int
		want   Item
	}{
		"empty":              {want: Item{Lists: listPerFile}},
		"full":               {size: 40960, filled: 40960, want: Item{Size: 40960, Lists: 40*listPerMille + listPerFile}},
		"not a whole page":   {size: 5000, filled: 5000, want: Item{Size: 8192, Lists: 8*listPerMille + listPerFile}},
		"sparse":             {size: 1 << 40, filled: 4096, want: Item{Size: 1 << 40, Holes: 1<<40 - 4096, Lists: 1<<40/1000*listPerMille + listPerFile}},
		"as large as can be": {size: 1<<63 - 1, want: Item{Size: 1<<63 - 1, Holes: 1<<63 - 1, Lists: (1<<63-1)/1000*listPerMille + listPerFile}},
		"noexec":             {flags: unix.MFD_NOEXEC_SEAL, size: 8192, filled: 4096, want: Item{Size: 8192, Holes: 4096, Lists: 8*listPerMille + listPerFile, Copy: 4096}},
		"noexec, immutable":  {flags: unix.MFD_NOEXEC_SEAL, size: 4096, filled: 4096, seals: unix.F_SEAL_WRITE, want: Item{Size: 4096, Lists: 4*listPerMille + listPerFile, Copy: 4096, Spare: true}},
		"sealed":             {flags: unix.MFD_ALLOW_SEALING, size: 4096, filled: 4096, seals: unix.F_SEAL_WRITE, want: Item{Size: 4096, Lists: 4*listPerMille + listPerFile}},
		"executable":         {flags: unix.MFD_ALLOW_SEALING | unix.MFD_EXEC, size: 4096, filled: 4096, seals: unix.F_SEAL_EXEC, want: Item{Size: 4096, Lists: 4*listPerMille + listPerFile}},
	} {
		t.Run(name, func(t *testing.T) {
			f := file(t, c.flags, c.size, c.filled, c.seals)
			got, err := Need([]*vault.File{f}, gib)
			if err != nil {
				t.Fatal(err)
			}
			c.want.File = f
			if got[0] != c.want {
				t.Errorf("got %+v, want %+v", got[0], c.want)
			}
		})
	}
}

// Where cachestat(2) can't tell, all of a file may be swapped out, but no more than is.
func TestWhatIsSwappedOut(t *testing.T) {
	closed := file(t, 0, 8192, 8192, 0)
	closed.F.Close()
	if got := evicted(closed.F, 8192); got != 8192 {
		t.Errorf("without an answer %d bytes are said to be swapped out", got)
	}
	// Nothing of this one is; on a kernel without the call all of it may be.
	f := file(t, 0, 8192, 8192, 0)
	if got := evicted(f.F, 8192); got != 0 && got != 8192 {
		t.Errorf("%d bytes are said to be swapped out", got)
	}
	if d, err := Need([]*vault.File{f}, 100); err != nil || d[0].Swapped > 100 {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestIsThereRoom(t *testing.T) {
	item := func(unit string, i Item) Item {
		i.File = &vault.File{Unit: unit, Name: "of " + unit}
		return i
	}
	machine := Available{Total: 10 * gib, Free: 4 * gib} // of which 512 MiB stay free
	limited := machine
	limited.Groups = []Group{{Name: "luod.service", Limit: 2 * gib, Free: gib}, {Name: "system.slice", Limit: 9 * gib, Free: 2 * gib}}
	for name, c := range map[string]struct {
		demand    Demand
		available Available
		// superset are the units whose copies are spared.
		superset []string
		err      string
	}{
		"nothing":                       {nil, machine, nil, ""},
		"all that is free":              {Demand{item("a", Item{Holes: 3 * gib, Lists: 512 * mib})}, machine, nil, ""},
		"more than that":                {Demand{item("a", Item{Holes: 3 * gib, Lists: 512*mib + 1})}, machine, nil, "packing what is held takes 3.5 GiB and 3.5 GiB are free in the whole system, so 1 B more"},
		"holes of one, swap of another": {Demand{item("a", Item{Holes: gib}), item("b", Item{Swapped: 3 * gib})}, machine, nil, `it is for b (3.0 GiB, the most of it for "of b"), a (1.0 GiB`},
		"only four units":               {Demand{item("a", Item{Holes: gib}), item("b", Item{Holes: gib}), item("c", Item{Holes: gib}), item("d", Item{Holes: 2 * gib})}, machine, nil, `d (2.0 GiB, the most of it for "of d"), a (1.0 GiB, the most of it for "of a"), b (1.0 GiB, the most of it for "of b")`},
		"as much as can be counted":     {Demand{item("a", Item{Holes: 1<<63 - 1}), item("b", Item{Holes: 1<<63 - 1, Lists: 9})}, machine, nil, "8.0 EiB"},
		"a copy":                        {Demand{item("a", Item{Copy: 3 * gib})}, machine, nil, ""},
		"a copy too much":               {Demand{item("a", Item{Copy: 4 * gib})}, machine, nil, "copying what has MFD_NOEXEC_SEAL afterwards, takes 4.0 GiB"},
		"a copy that can be spared":     {Demand{item("a", Item{Copy: 4 * gib, Spare: true})}, machine, []string{"a"}, ""},
		"as few as can be":              {Demand{item("a", Item{Copy: gib, Spare: true}), item("b", Item{Copy: 2 * gib, Spare: true}), item("c", Item{Copy: 2 * gib})}, machine, []string{"b"}, ""},
		"sparing isn't enough":          {Demand{item("a", Item{Copy: gib, Spare: true}), item("b", Item{Copy: 5 * gib})}, machine, nil, "it is for b (5.0 GiB"},
		"luod's own limit":              {Demand{item("a", Item{Holes: gib + 1})}, limited, nil, "1.0 GiB are free below the memory limit of luod.service"},
		"what comes back":               {Demand{item("a", Item{Size: 2*gib + 1})}, limited, nil, "what comes back, which is all charged to luod, takes 2.0 GiB and 2.0 GiB are free as the memory limit of luod.service"},
		"what comes back, spared":       {Demand{item("a", Item{Size: 2 * gib, Copy: mib, Spare: true})}, limited, []string{"a"}, ""},
		"no memory at all":              {Demand{item("a", Item{Lists: 1})}, Available{Total: gib, Free: mib}, nil, "0 B are free"},
	} {
		t.Run(name, func(t *testing.T) {
			superset, err := c.demand.Against(c.available)
			if c.err == "" != (err == nil) || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Fatalf("got %v, want %q", err, c.err)
			}
			var short *Shortage
			if err != nil && (!errors.As(err, &short) || short.Needed <= short.Usable) {
				t.Errorf("%#v", err)
			}
			var units []string
			for f := range maps.Keys(superset) {
				units = append(units, f.Unit)
			}
			if slices.Sort(units); !slices.Equal(units, c.superset) {
				t.Errorf("spared %v, want %v", units, c.superset)
			}
		})
	}
}

func TestWhatThereIs(t *testing.T) {
	const meminfo = "MemTotal: 1048576 kB\nMemFree: 1 kB\nMemAvailable: 524288 kB\nSwapTotal: 2048 kB\nSwapFree: 1024 kB\nHugePages_Total: 0\n"
	for name, c := range map[string]struct {
		files  map[string]string
		want   Available
		usable int64
		err    string
	}{
		"no limits": {
			files:  map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "0::/system.slice/luod.service\n", "cg/system.slice/luod.service/memory.max": "max\n", "cg/system.slice/luod.service/memory.current": "5\n"},
			want:   Available{Total: gib, Free: gib / 2, Swapped: mib},
			usable: gib/2 - gib/20,
		},
		"limits above": {
			files: map[string]string{
				"proc/meminfo": meminfo, "proc/self/cgroup": "1:name=systemd:/\n0::/system.slice/luod.service\n",
				"cg/system.slice/luod.service/memory.max": "1000\n", "cg/system.slice/luod.service/memory.current": "400\n", "cg/system.slice/luod.service/memory.stat": "anon 1\ninactive_file 100\n",
				"cg/system.slice/memory.max": "500\n", "cg/system.slice/memory.current": "700\n",
			},
			want:   Available{Total: gib, Free: gib / 2, Swapped: mib, Groups: []Group{{"luod.service", 1000, 700}, {"system.slice", 500, 0}}},
			usable: 0,
		},
		"no control group":     {files: map[string]string{"proc/meminfo": meminfo}, want: Available{Total: gib, Free: gib / 2, Swapped: mib}, usable: gib/2 - gib/20},
		"the top":              {files: map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "0::/\n"}, want: Available{Total: gib, Free: gib / 2, Swapped: mib}, usable: gib/2 - gib/20},
		"a small machine":      {files: map[string]string{"proc/meminfo": "MemTotal: 131072 kB\nMemAvailable: 65536 kB\n"}, want: Available{Total: 128 * mib, Free: 64 * mib}, usable: 32 * mib},
		"a large machine":      {files: map[string]string{"proc/meminfo": "MemTotal: 1073741824 kB\nMemAvailable: 2097152 kB\n"}, want: Available{Total: 1 << 40, Free: 2 * gib}, usable: gib},
		"an unreadable answer": {files: map[string]string{"proc/meminfo": "MemTotal: x kB\n"}, err: "has no MemTotal"},
		"no answer":            {err: "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for path, text := range c.files {
				path = filepath.Join(dir, path)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			got, err := read(filepath.Join(dir, "proc"), filepath.Join(dir, "cg"))
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("got %v, want %q", err, c.err)
				}
				return
			}
			if err != nil || got.Total != c.want.Total || got.Free != c.want.Free || got.Swapped != c.want.Swapped || !slices.Equal(got.Groups, c.want.Groups) {
				t.Errorf("got %+v, %v, want %+v", got, err, c.want)
			}
			usable, _ := got.usable()
			if usable != c.usable {
				t.Errorf("usable are %d bytes, want %d", usable, c.usable)
			}
			if err := got.Room(usable); err != nil {
				t.Error(err)
			}
			if err := got.Room(usable + 1); err == nil {
				t.Error("there is room for more than is usable")
			}
		})
	}
}

func TestThisMachineCanBeRead(t *testing.T) {
	if a, err := Now(); err != nil || a.Total <= 0 || a.Free <= 0 || a.Free > a.Total {
		t.Errorf("%+v, %v", a, err)
	}
}
