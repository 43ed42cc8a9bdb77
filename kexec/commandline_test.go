package kexec

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

var words = Words{Number: "luod.generation", Target: "luod-restore.target"}

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
		`a "--" kho=off`:               `a kho=on liveupdate=on luod.generation=7 "--" kho=off`,
		`a "kho=off" b`:                `a b kho=on liveupdate=on luod.generation=7`,
		`a b="c d`:                     `a kho=on liveupdate=on luod.generation=7 b="c d`,
		"a kho_scratch=1M initrdmem=0": "a kho_scratch=1M initrdmem=0 kho=on liveupdate=on luod.generation=7",
		"  a\t b\n":                    "a b kho=on liveupdate=on luod.generation=7",
	} {
		line := ParseCommandLine(in).Clean(words).EnableLiveUpdate().WithNumber(words.Number, 7)
		if got := line.String(); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
		if n, ok := line.Number(words.Number); n != 7 || !ok {
			t.Errorf("%q: generation %d, %v", in, n, ok)
		}
	}
	for _, in := range []string{"", "luod.generation=x", "a -- luod.generation=3"} {
		if n, ok := ParseCommandLine(in).Number(words.Number); ok {
			t.Errorf("%q has generation %d", in, n)
		}
	}
}

func TestWhatMustSurviveIsInherited(t *testing.T) {
	const running = "BOOT_IMAGE=/v root=/dev/vda rootflags=x ro crashkernel=256M quiet"
	for in, want := range map[string]string{
		"":                           "root=/dev/vda rootflags=x ro crashkernel=256M",
		"splash":                     "splash root=/dev/vda rootflags=x ro crashkernel=256M",
		"root=/dev/vdb":              "root=/dev/vdb crashkernel=256M",
		"root=/dev/vdb rootflags=y":  "root=/dev/vdb rootflags=y crashkernel=256M",
		"rw":                         "rw root=/dev/vda rootflags=x crashkernel=256M",
		"crashkernel=1G root=a -- x": "crashkernel=1G root=a -- x",
		"a -- root=b":                "a root=/dev/vda rootflags=x ro crashkernel=256M -- root=b",
	} {
		if got := ParseCommandLine(in).Inherit(ParseCommandLine(running)).String(); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
	if got := ParseCommandLine("a b").Inherit(nil).String(); got != "a b" {
		t.Errorf("without a running one: %q", got)
	}
}

func FuzzCommandLine(f *testing.F) {
	for _, seed := range []string{`root=/dev/vda a="b c" -- x`, `a="b kho=off`, `"--" x`, "kho=off\tliveupdate=0 luod.generation=9"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		line := ParseCommandLine(text)
		if again := ParseCommandLine(line.String()); !reflect.DeepEqual(again, line) && strings.Count(text, `"`)%2 == 0 {
			t.Fatalf("%q: %q is not %q", text, again, line)
		}
		// The next kernel sees the text, not the words.
		next := ParseCommandLine(line.Clean(words).EnableLiveUpdate().WithNumber(words.Number, 1).String())
		kernel, init := next.split()
		found := map[string]string{}
		for _, w := range kernel {
			if k := key(w); k == "kho" || k == "liveupdate" || k == "luod.generation" {
				if _, twice := found[k]; twice {
					t.Fatalf("%q: %q says %s twice", text, next, k)
				}
				found[k] = w
			}
		}
		if found["kho"] != "kho=on" || found["liveupdate"] != "liveupdate=on" || found["luod.generation"] != "luod.generation=1" {
			t.Fatalf("%q: %q enables nothing", text, next)
		}
		if _, before := line.split(); !slices.Equal(init, before) {
			t.Fatalf("%q: init's part %q became %q", text, before, init)
		}
		if n, ok := next.Number(words.Number); n != 1 || !ok {
			t.Fatalf("%q: generation %d, %v", text, n, ok)
		}
		if clean := line.Clean(words); !slices.Equal(clean.StartWith(words.Target).Clean(words), clean) {
			t.Fatalf("%q: %q leaves something behind", text, clean.StartWith(words.Target))
		}
	})
}

func TestRestoreFirst(t *testing.T) {
	const first = " systemd.unit=luod-restore.target"
	const silent = " systemd.tty.term.console=vt220 systemd.tty.rows.console=24 systemd.tty.columns.console=80"
	for in, want := range map[string]string{
		"root=/dev/vda quiet":                "root=/dev/vda quiet systemd.unit=luod-restore.target",
		"root=/dev/vda -- x":                 "root=/dev/vda systemd.unit=luod-restore.target -- x",
		"quiet systemd.unit=rescue.target":   "quiet systemd.unit=rescue.target",
		"quiet single":                       "quiet single",
		"quiet 3":                            "quiet 3",
		"x systemd.unit=luod-restore.target": "x systemd.unit=luod-restore.target",

		"console=ttyS0,115200n8 a":              "console=ttyS0,115200n8 a" + first + silent,
		"console=tty0 console=hvc0":             "console=tty0 console=hvc0" + first + silent,
		"console=ttyS0 -- b":                    "console=ttyS0" + first + silent + " -- b",
		"console=ttyS0" + first + silent:        "console=ttyS0" + first + silent,
		"console=ttyS0" + first + silent + " b": "console=ttyS0 b" + first + silent,
		"console=ttyS0 console=tty0":            "console=ttyS0 console=tty0" + first,
		"console=tty1":                          "console=tty1" + first,
		"console=":                              "console=" + first,
		"console=ttyS0 TERM=xterm":              "console=ttyS0 TERM=xterm" + first,
		"console=ttyS0 single":                  "console=ttyS0 single",
		"systemd.tty.rows.console=50 console=a": "systemd.tty.rows.console=50 console=a" + first,
		"console=ttyS0" + silent:                "console=ttyS0" + silent + first,
	} {
		got := ParseCommandLine(in).Clean(words).StartWith(words.Target)
		if got.String() != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
		if again := got.Clean(words).String(); again != ParseCommandLine(in).Clean(words).String() {
			t.Errorf("%q is not clean: %q", got, again)
		}
	}
}
