package kexec

import (
	"reflect"
	"strings"
	"testing"
)

func TestTheNextCommandLine(t *testing.T) {
	for in, want := range map[string]string{
		"":                             "kho=on liveupdate=on luod.generation=7",
		"root=/dev/vda ro quiet":       "root=/dev/vda ro quiet kho=on liveupdate=on luod.generation=7",
		"BOOT_IMAGE=/vmlinuz root=a":   "root=a kho=on liveupdate=on luod.generation=7",
		"initrd=\\x root=a initrd=y":   "root=a kho=on liveupdate=on luod.generation=7",
		"kho=off liveupdate=0 a kho=1": "a kho=on liveupdate=on luod.generation=7",
		"a luod.generation=6":          "a kho=on liveupdate=on luod.generation=7",
		"crashkernel=256M root=a":      "crashkernel=256M root=a kho=on liveupdate=on luod.generation=7",
		`a="b c  d" e`:                 `a="b c  d" e kho=on liveupdate=on luod.generation=7`,
		"a -- kho=off init":            "a kho=on liveupdate=on luod.generation=7 -- kho=off init",
		"  a\t b\n":                    "a b kho=on liveupdate=on luod.generation=7",
	} {
		line := ParseCommandLine(in).Clean().EnableLiveUpdate().WithGeneration(7)
		if got := line.String(); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
		if n, ok := line.Generation(); n != 7 || !ok {
			t.Errorf("%q: generation %d, %v", in, n, ok)
		}
	}
	for _, in := range []string{"", "luod.generation=x", "a -- luod.generation=3"} {
		if n, ok := ParseCommandLine(in).Generation(); ok {
			t.Errorf("%q has generation %d", in, n)
		}
	}
}

func FuzzCommandLine(f *testing.F) {
	f.Add(`root=/dev/vda a="b c" -- x`)
	f.Fuzz(func(t *testing.T, text string) {
		line := ParseCommandLine(text)
		if again := ParseCommandLine(line.String()); !reflect.DeepEqual(again, line) && strings.Count(text, `"`)%2 == 0 {
			t.Fatalf("%q: %q is not %q", text, again, line)
		}
		next := line.Clean().EnableLiveUpdate().WithGeneration(1)
		kernel, _ := next.split()
		if n := strings.Count(" "+kernel.String()+" ", " liveupdate=on "); n < 1 {
			t.Fatalf("%q: %q enables nothing", text, next)
		}
	})
}
