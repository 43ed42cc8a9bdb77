package unitsection

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

const head = "[Unit]\nDescription=x\n[Service]\nExecStart=/x\n"

func parse(texts ...string) (*Section, []*Problem, error) {
	var files []File
	for i, text := range texts {
		files = append(files, File{Path: fmt.Sprintf("/f%d", i), Data: []byte(text)})
	}
	return Parse("a.service", files)
}

func TestParse(t *testing.T) {
	for name, c := range map[string]struct {
		texts []string
		want  *Section
	}{
		"nothing":          {[]string{head, "[Service]\nX-LiveUpdate=1\n"}, nil},
		"an empty section": {[]string{head + "[X-LiveUpdate]\n"}, &Section{}},
		"all": {[]string{head + "[X-LiveUpdate]\nPreserve=fdstore dbus\nTimeoutSec=1min 30s\nOnFailure=ignore\nAfter=b.service c@1.service\nBefore=d.service\n"},
			&Section{Answers: true, Store: true, Timeout: 90 * time.Second, Optional: true, After: []string{"b.service", "c@1.service"}, Before: []string{"d.service"}}},
		"drop-ins": {[]string{head + "[X-LiveUpdate]\nPreserve=dbus\nTimeoutSec=5\nAfter=b.service\nBefore=x.service\n", "[X-LiveUpdate]\nTimeoutSec=500ms\nAfter=c.service b.service\nBefore=\nOnFailure=ignore\n", "[X-LiveUpdate]\nOnFailure=\n"},
			&Section{Answers: true, Timeout: 500 * time.Millisecond, After: []string{"b.service", "c.service"}}},
		"directories": {[]string{"[X-LiveUpdate]\nDirectories=/run/a /run/b\n", "[X-LiveUpdate]\nDirectories=/run/a /dev/shm/c\n"},
			&Section{Directories: []string{"/run/a", "/run/b", "/dev/shm/c"}}},
		"aliases": {[]string{"[X-LiveUpdate]\nAliases=b.service\n", "[X-LiveUpdate]\nAliases=c@1.service b.service\n"},
			&Section{Aliases: []string{"b.service", "c@1.service"}}},
		"recreate": {[]string{"[X-LiveUpdate]\nPreserve=fdstore\nRecreate=files\n", "[X-LiveUpdate]\nRecreate=sockets files\n"},
			&Section{Store: true, Recreate: []string{"files", "sockets"}}},
		"recreate nothing": {[]string{"[X-LiveUpdate]\nRecreate=files sockets\n", "[X-LiveUpdate]\nRecreate=\n"}, &Section{}},
		"comments and long lines": {[]string{"[X-LiveUpdate]\n# Preserve=nonsense\nAfter=b.service \\\n  c.service\n; x\nTimeoutSec=2\n"},
			&Section{Timeout: 2 * time.Second, After: []string{"b.service", "c.service"}}},
	} {
		t.Run(name, func(t *testing.T) {
			got, warnings, err := parse(c.texts...)
			if err != nil || len(warnings) != 0 || !reflect.DeepEqual(got, c.want) {
				t.Fatalf("%+v, %v, %v; want %+v", got, warnings, err, c.want)
			}
		})
	}
}

func TestWhatIsWrongIsSaidWithItsLine(t *testing.T) {
	for text, want := range map[string]string{
		"[X-LiveUpdate]\nPreserve=socket\n":                               "/f1:2: Preserve=socket: ",
		"[X-LiveUpdate]\nPreserve=dbus directories\n":                     "/f1:2: ",
		"[X-LiveUpdate]\nTimeoutSec=5\n\nTimeoutSec=soon\n":               "/f1:4: TimeoutSec=soon: ",
		"[X-LiveUpdate]\nTimeoutSec=infinity\n":                           "/f1:2: ",
		"[X-LiveUpdate]\nTimeoutSec=0\n":                                  "/f1:2: ",
		"[X-LiveUpdate]\nOnFailure=explode\n":                             "/f1:2: ",
		"[X-LiveUpdate]\nAfter=b.service \\\n  c.service\nAfter=../etc\n": "/f1:4: ",
		"[Service]\nAfter=x\n[X-LiveUpdate]\n# x\nBefore=a.service\n":     "/f1:5: ",
		"[X-LiveUpdate]\nDirectories=run/x\n":                             "/f1:2: ",
		"[X-LiveUpdate]\nDirectories=/run/x/../y\n":                       "/f1:2: ",
		"[X-LiveUpdate]\nAliases=a.service\n":                             "/f1:2: ",
		"[X-LiveUpdate]\nDirectories=/\n":                                 "/f1:2: ",
		"[X-LiveUpdate]\nPreserve=dbus\nRecreate=files\n":                 "/f1:3: Recreate=files: it is for what is in the fd store",
		"[X-LiveUpdate]\nRecreate=files pipes\n":                          "/f1:2: Recreate=files pipes: ",
		"[X-LiveUpdate]\nAfter=b.target\n":                                "/f1:2: ",
	} {
		_, _, err := parse(head, text)
		var p *Problem
		if !errors.As(err, &p) || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
	_, _, err := parse("[X-LiveUpdate]\nOnFailure=x\nTimeoutSec=y\n")
	if err == nil || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("not both: %v", err)
	}
	d, warnings, err := parse("[X-LiveUpdate]\nColour=red\nTimeoutSec=1\n")
	if err != nil || d.Timeout != time.Second || len(warnings) != 1 || warnings[0].Error() != "/f0:2: unknown key Colour= in [X-LiveUpdate], ignoring" {
		t.Errorf("%+v, %v, %v", d, warnings, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("[X-LiveUpdate]\nTimeoutSec=1min\nAfter=b.service \\\nc.service\n")
	f.Fuzz(func(t *testing.T, text string) {
		d, _, err := parse(text)
		if err != nil || d == nil {
			return
		}
		if d.Timeout < 0 {
			t.Fatalf("%+v", d)
		}
		for _, u := range append(d.After, d.Before...) {
			if !ValidUnit(u) || u == "a.service" {
				t.Fatalf("%+v", d)
			}
		}
	})
}

func TestValidUnit(t *testing.T) {
	for name, valid := range map[string]bool{
		"a.service": true, `dev-disk\x2d1@x:y_z.service`: true, strings.Repeat("x", 247) + ".service": true,
		strings.Repeat("x", 248) + ".service": false, ".service": false, "": false, "a": false, "a.socket": false,
		"a b.service": false, "a/b.service": false, "a\n.service": false, "ä.service": false, "a.service ": false,
	} {
		if ValidUnit(name) != valid {
			t.Errorf("ValidUnit(%q) = %t", name, !valid)
		}
	}
}
