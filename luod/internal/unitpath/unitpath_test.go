package unitpath

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestNamesOfUnitFilesWithAWord(t *testing.T) {
	etc, usr := t.TempDir(), t.TempDir()
	write := func(dir, path, text string) {
		t.Helper()
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	const with, without = "[X-LiveUpdate]\nPreserve=fdstore\n", "[Service]\n"
	write(usr, "a.service", with)
	write(usr, "b.service", without)
	write(etc, "b.service.d/10-x.conf", with)
	write(etc, "a.service.d/10-x.conf", with)
	write(etc, "c.service.d/README", with)
	write(etc, "d.socket", with)
	write(etc, "d.socket.d/x.conf", with)
	write(etc, "e@.service", with)
	write(etc, "service.d/all.conf", with)
	write(etc, "f-.service.d/all.conf", with)
	write(etc, "multi-user.target.wants/g.service", with)
	for link, target := range map[string]string{"alias.service": filepath.Join(usr, "a.service"), "masked.service": "/dev/null", "dead.service": "/nonexistent"} {
		if err := os.Symlink(target, filepath.Join(etc, link)); err != nil {
			t.Fatal(err)
		}
	}
	got := Mentioning([]string{etc, filepath.Join(etc, "none"), usr}, "X-LiveUpdate")
	want := []string{"a.service", "alias.service", "b.service", "e@.service", "f-.service", "service"}
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestWhatAUnitFileCovers(t *testing.T) {
	for _, c := range []struct {
		name, service string
		want          bool
	}{
		{"a.service", "a.service", true}, {"a.service", "b.service", false}, {"a.service", "aa.service", false},
		{"service", "b.service", true},
		{"e@.service", "e@1.service", true}, {"e@.service", "e.service", false}, {"e@1.service", "e@2.service", false},
		{"f-.service", "f-g.service", true}, {"f-.service", "f-g@1.service", true}, {"f-.service", "f.service", false}, {"f-.service", "ff-g.service", false},
		{"f-@.service", "f-g@1.service", true}, {"f-g@.service", "f-g@1.service", true}, {"f-g@.service", "f-h@1.service", false},
	} {
		if got := Covers(c.name, c.service); got != c.want {
			t.Errorf("%s covers %s: %t", c.name, c.service, got)
		}
	}
}
