package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/liveupdate/luod/internal/loading"
	"github.com/liveupdate/luod/kexec"
	"github.com/liveupdate/luod/kexec/bootentry"
	"github.com/liveupdate/luod/kexec/image/imagetest"
	"github.com/liveupdate/luod/kexec/pe/petest"
	"github.com/liveupdate/luod/kexec/preflight"
	"github.com/liveupdate/luod/kexec/source"
	"github.com/liveupdate/luod/kexec/verdict"
)

// world is a machine with a type 1 entry and a unified kernel image.
type world struct {
	machine
	root   string
	loaded []*source.Source
	fail   error
	// limit is the kernel's count of loads.
	limit int
}

func newWorld(t *testing.T) *world {
	w := &world{root: t.TempDir()}
	image := imagetest.BzImage("7.3.4", 2047, imagetest.Gzip([]byte("\x7fELF\x00Linux version 7.3.4 (x)\n")))
	write := func(name string, data []byte) {
		path := filepath.Join(w.root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("boot/vmlinuz-a", image)
	write("boot/initrd-a", []byte("initrd"))
	write("boot/loader/entries/a.conf", []byte("title A\nversion 1\nsort-key a\nlinux /vmlinuz-a\ninitrd /initrd-a\noptions root=/dev/a\n"))
	write("boot/EFI/Linux/b.efi", petest.Image(0x8664, petest.Section{Name: ".linux", Data: image}, petest.Section{Name: ".cmdline", Data: []byte("from-uki")}, petest.Section{Name: ".osrel", Data: []byte("ID=b\n")}))
	w.machine = machine{
		entries:     bootentry.System{Root: w.root, MachineID: "m", Architecture: "amd64"},
		system:      preflight.System{Root: w.root, Arch: "amd64", Release: "7", Successor: preflight.Service{Unit: "luod.service", Program: "/usr/lib/luod/luod"}},
		commandLine: "BOOT_IMAGE=/x root=/dev/running ro crashkernel=1M kho=off luod.generation=1",
		load: func(s *source.Source) error {
			w.loaded = append(w.loaded, s)
			w.limit--
			return w.fail
		},
		loaded:    func() (bool, error) { return len(w.loaded) > 0, nil },
		left:      func() (int, error) { return w.limit, nil },
		countFrom: func() (int, error) { w.limit = max(w.limit, 100); return w.limit, nil },
	}
	return w
}

// every overrides all checks: these tests are about what is done then.
var every = verdict.Names()

func TestATargetIsMadeOfEntryAndRequest(t *testing.T) {
	w := newWorld(t)
	kernel, unified := filepath.Join(w.root, "boot/vmlinuz-a"), filepath.Join(w.root, "boot/EFI/Linux/b.efi")
	initrd := filepath.Join(w.root, "boot/initrd-a")
	const end = " kho=on liveupdate=on luod.generation=2"
	for what, c := range map[string]struct {
		request loading.Request
		want    kexec.Target
	}{
		"the default":            {loading.Request{}, kexec.Target{Kernel: kernel, Initrds: []string{initrd}, CommandLine: "root=/dev/a crashkernel=1M" + end}},
		"an entry":               {loading.Request{Entry: "b.efi"}, kexec.Target{Kernel: unified, CommandLine: "from-uki root=/dev/running ro crashkernel=1M" + end}},
		"an entry and more":      {loading.Request{Entry: "a", Initrds: []string{"/i", "/j"}, CommandLine: "quiet root=x"}, kexec.Target{Kernel: kernel, Initrds: []string{"/i", "/j"}, CommandLine: "quiet root=x crashkernel=1M" + end}},
		"a path":                 {loading.Request{Entry: kernel}, kexec.Target{Kernel: kernel, CommandLine: "root=/dev/running ro crashkernel=1M" + end}},
		"the path of a UKI":      {loading.Request{Entry: unified}, kexec.Target{Kernel: unified, CommandLine: "from-uki root=/dev/running ro crashkernel=1M" + end}},
		"a path that is nothing": {loading.Request{Entry: "/nonexistent/x"}, kexec.Target{Kernel: "/nonexistent/x", CommandLine: "root=/dev/running ro crashkernel=1M" + end}},
	} {
		c.request.Verb, c.request.Generation = loading.Check, 2
		a := answer(w.machine, c.request)
		if a.Report == nil {
			t.Errorf("%s: %+v", what, a)
			continue
		}
		if got := a.Report.Target; got.Kernel != c.want.Kernel || got.CommandLine != c.want.CommandLine || !slices.Equal(got.Initrds, c.want.Initrds) {
			t.Errorf("%s: got %+v, want %+v", what, got, c.want)
		}
	}
}

func TestOnlyWhatPassesIsLoaded(t *testing.T) {
	w := newWorld(t)
	a := answer(w.machine, loading.Request{Verb: loading.Load, Entry: "a.conf"})
	if a.Kind != loading.CheckFailed || !strings.Contains(a.Error, "luod-after-jump: ") || len(w.loaded) > 0 {
		t.Fatalf("%s: %s", a.Kind, a.Error)
	}
	a = answer(w.machine, loading.Request{Verb: loading.Check, Entry: "a.conf", Override: every})
	if a.Error != "" || len(w.loaded) > 0 {
		t.Fatalf("%+v", a)
	}
	a = answer(w.machine, loading.Request{Verb: loading.Load, Entry: "a.conf", Override: every})
	if a.Error != "" || len(w.loaded) != 1 {
		t.Fatalf("%+v", a)
	}
	again := loading.Request{Verb: loading.Load, Again: &loading.Again{Target: a.Report.Target, Digest: a.Report.Digest}, Override: slices.DeleteFunc(slices.Clone(every), func(n string) bool { return n == "unchanged" })}
	again.Again.Known = []preflight.Result{{Name: "kernel-image", Verdict: preflight.OK, Reason: "known"}}
	if a := answer(w.machine, again); a.Error != "" || len(w.loaded) != 2 || !slices.Contains(a.Report.Results, again.Again.Known[0]) {
		t.Fatalf("again: %+v", a)
	}
	if err := os.WriteFile(filepath.Join(w.root, "boot/initrd-a"), []byte("another"), 0o600); err != nil {
		t.Fatal(err)
	}
	if a := answer(w.machine, again); a.Kind != loading.CheckFailed || !strings.Contains(a.Error, "unchanged") || len(w.loaded) != 2 {
		t.Fatalf("after a change: %+v", a)
	}
}

func TestWhatIsProvenToBeLoadedIsNotLoadedAgain(t *testing.T) {
	for what, c := range map[string]struct {
		meanwhile func(w *world)
		kept      bool
		failed    string
	}{
		"nothing":                      {func(*world) {}, true, ""},
		"somebody loads another":       {func(w *world) { w.limit-- }, false, ""},
		"it is unloaded":               {func(w *world) { w.limit--; w.loaded = nil }, false, ""},
		"the count can't be read":      {func(w *world) { w.left = func() (int, error) { return 0, errors.New("no") } }, false, ""},
		"the kernel is said to be out": {func(w *world) { w.machine.loaded = func() (bool, error) { return false, nil } }, false, ""},
		"a file is touched": {func(w *world) {
			_ = os.Chmod(filepath.Join(w.root, "boot/initrd-a"), 0o600)
		}, true, ""},
		"a file is another": {func(w *world) {
			_ = os.WriteFile(filepath.Join(w.root, "boot/initrd-a"), []byte("another"), 0o600)
		}, false, "unchanged"},
	} {
		w := newWorld(t)
		w.limit = -1
		a := answer(w.machine, loading.Request{Verb: loading.Load, Entry: "a.conf", Override: every})
		if a.Error != "" || a.Proof == nil || a.Proof.Left != 99 || a.Kept {
			t.Fatalf("%s: the first load: %+v", what, a)
		}
		c.meanwhile(w)
		before := len(w.loaded)
		again := loading.Request{Verb: loading.Load, Override: slices.DeleteFunc(slices.Clone(every), func(n string) bool { return n == "unchanged" }),
			Again: &loading.Again{Target: a.Report.Target, Digest: a.Report.Digest, Proof: a.Proof}}
		b := answer(w.machine, again)
		if c.failed != "" {
			if b.Kind != loading.CheckFailed || !strings.Contains(b.Error, c.failed) || len(w.loaded) != before {
				t.Errorf("%s: %+v", what, b)
			}
			continue
		}
		if b.Error != "" || b.Kept != c.kept || (len(w.loaded) == before) != c.kept || b.Kept && *b.Proof != *a.Proof || b.Report.Digest != a.Report.Digest {
			t.Errorf("%s: %+v; loaded %d times", what, b, len(w.loaded)-before)
		}
	}
}

func TestALoadBesideAnotherProvesNothing(t *testing.T) {
	w := newWorld(t)
	w.limit = 50
	w.load = func(*source.Source) error { w.limit -= 2; return nil }
	if a := answer(w.machine, loading.Request{Verb: loading.Load, Entry: "a.conf", Override: every}); a.Error != "" || a.Proof != nil {
		t.Errorf("%+v", a)
	}
}

func TestWhatIsWrittenWhileItIsLoadedIsNotKept(t *testing.T) {
	w := newWorld(t)
	w.load = func(*source.Source) error {
		return os.WriteFile(filepath.Join(w.root, "boot/initrd-a"), []byte("evil!!"), 0o600)
	}
	a := answer(w.machine, loading.Request{Verb: loading.Load, Entry: "a.conf", Override: every})
	if a.Kind != loading.LoadFailed || !strings.Contains(a.Error, "written to while") {
		t.Fatalf("%+v", a)
	}
}

func TestErrorsAreTold(t *testing.T) {
	w := newWorld(t)
	w.fail = errors.New("the kernel says no")
	for what, c := range map[string]struct {
		request loading.Request
		kind    loading.Kind
		text    string
	}{
		"an unknown entry": {loading.Request{Verb: loading.Check, Entry: "zzz"}, loading.NoEntry, "a.conf"},
		"an unknown check": {loading.Request{Verb: loading.Check, Override: []string{"x"}}, loading.BadRequest, "no check"},
		"an unknown verb":  {loading.Request{Verb: "dance"}, loading.BadRequest, "dance"},
		"the kernel's no":  {loading.Request{Verb: loading.Load, Override: every}, loading.LoadFailed, "the kernel says no"},
		"no file":          {loading.Request{Verb: loading.Load, Entry: "/nonexistent/x", Override: every}, loading.LoadFailed, "can't be read"},
	} {
		if a := answer(w.machine, c.request); a.Kind != c.kind || !strings.Contains(a.Error, c.text) {
			t.Errorf("%s: %+v", what, a)
		}
	}
}

func TestEntriesAndWhatIsNoneAreListed(t *testing.T) {
	w := newWorld(t)
	if err := os.WriteFile(filepath.Join(w.root, "boot/loader/entries/bad.conf"), []byte("linux /../../etc/passwd\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	a := answer(w.machine, loading.Request{Verb: loading.Entries})
	if err := json.NewEncoder(&out).Encode(a); err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	for _, e := range a.Entries {
		ids[e.ID] = true
		if strings.HasSuffix(e.Source, "bad.conf") && !strings.Contains(e.Error, "..") {
			t.Errorf("%+v", e)
		}
	}
	if !ids["a.conf"] || !ids["b.efi"] || len(a.Entries) != 3 {
		t.Errorf("%s", out.String())
	}
}

func TestRunRefusesWhatIsNoRequest(t *testing.T) {
	if err := run(strings.NewReader("hello"), &bytes.Buffer{}); err == nil {
		t.Error("it was taken")
	}
	var out bytes.Buffer
	if err := run(strings.NewReader(`{"verb":"dance"}`), &out); err != nil || !strings.Contains(out.String(), "dance") {
		t.Errorf("%v: %s", err, out.String())
	}
}
