package bootentry

import (
	"fmt"
	"strings"
	"testing"
)

func TestUncount(t *testing.T) {
	for _, c := range []struct {
		file, name string
		left, done int
	}{
		{"a.conf", "a.conf", -1, -1}, {"a+3.conf", "a.conf", 3, 0}, {"a+3-1.efi", "a.efi", 3, 1}, {"a+0-3.conf", "a.conf", 0, 3},
		{"a+b+2.conf", "a+b.conf", 2, 0}, {"6.1+bpo-amd64.conf", "6.1+bpo-amd64.conf", -1, -1}, {"a+.conf", "a+.conf", -1, -1},
		{"a+1-.conf", "a+1-.conf", -1, -1}, {"a+1-2-3.conf", "a+1-2-3.conf", -1, -1}, {"a+-1.conf", "a+-1.conf", -1, -1},
		{"a++1.conf", "a+.conf", 1, 0}, {"a+2147483647.conf", "a.conf", 1<<31 - 1, 0}, {"a+2147483648.conf", "a+2147483648.conf", -1, -1},
		{"a+99999999999999999999.conf", "a+99999999999999999999.conf", -1, -1}, {"a+1", "a+1", -1, -1}, {"a+1x.conf", "a+1x.conf", -1, -1},
	} {
		if name, left, done := uncount(c.file); name != c.name || left != c.left || done != c.done {
			t.Errorf("%s: %s %d %d, want %s %d %d", c.file, name, left, done, c.name, c.left, c.done)
		}
	}
}

func TestSelect(t *testing.T) {
	entries := []Entry{
		{ID: "debian-6.12.conf", Kind: Type1, Title: "Debian", Version: "6.12"},
		{ID: "debian-6.11.conf", Kind: Type1, Title: "Debian", Version: "6.11", Default: true},
		{ID: "linux.efi", Kind: Type2, Title: "Image", Version: "13 (trixie)", Release: "6.13"},
		{ID: "linux.efi@1", Kind: Type2, Title: "Image (@1)", Version: "13 (trixie)", Release: "6.13", Profile: 1},
		{ID: "linux.efi@reset", Kind: Type2, Title: "Image (Reset)", Version: "13 (trixie)", Release: "6.13", Profile: 2},
		{ID: "vmlinuz-6.10", Kind: Plain, Title: "Linux 6.10", Version: "6.10", Source: "a"},
		{ID: "vmlinuz-6.10", Kind: Plain, Title: "Linux 6.10", Version: "6.10", Source: "b"},
	}
	for _, c := range []struct{ id, want string }{
		{"", "debian-6.11.conf"}, {"debian-6.12.conf", "debian-6.12.conf"}, {"debian-6.12", "debian-6.12.conf"}, {"6.12", "debian-6.12.conf"},
		{"linux", "linux.efi"}, {"linux.efi@0", "linux.efi"}, {"linux@1", "linux.efi@1"}, {"linux@reset", "linux.efi@reset"},
		{"linux.efi@2", "linux.efi@reset"}, {"Image (Reset)", "linux.efi@reset"}, {"vmlinuz-6.10", "vmlinuz-6.10"},
	} {
		if e, err := Select(entries, c.id); err != nil || e.ID != c.want {
			t.Errorf("%q: got %q, %v, want %q", c.id, e.ID, err, c.want)
		}
	}
	for _, c := range []struct{ id, want string }{
		{"Debian", "that could be debian-6.12.conf, debian-6.11.conf"},
		{"6.13", "that could be linux.efi, linux.efi@1"},
		{"nothing", "there are debian-6.12.conf"},
	} {
		if e, err := Select(entries, c.id); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: got %q, %v, want %q", c.id, e.ID, err, c.want)
		}
	}
	for _, id := range []string{"", "a"} {
		if _, err := Select(nil, id); err == nil || !strings.Contains(err.Error(), "no kernel in /boot") {
			t.Errorf("%q of none: %v", id, err)
		}
	}
	if _, err := Select(entries[:1], ""); err == nil || !strings.Contains(err.Error(), "name one of debian-6.12.conf") {
		t.Errorf("without a default: %v", err)
	}
	var many []Entry
	for i := range 25 {
		many = append(many, Entry{ID: fmt.Sprintf("entry-%d.conf", i), Kind: Type1})
	}
	if _, err := Select(many, "nothing"); err == nil || !strings.Contains(err.Error(), "entry-9.conf, and 15 more") || strings.Contains(err.Error(), "entry-10") {
		t.Errorf("of many: %v", err)
	}
}
