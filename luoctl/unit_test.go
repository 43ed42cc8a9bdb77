package main

import "testing"

func TestUnitNames(t *testing.T) {
	for arg, want := range map[string]string{
		"a": "a.service", "a.service": "a.service", "a@b.c": "a@b.c.service", "a@b.c.service": "a@b.c.service",
		"session-1.scope": "session-1.scope", "a.socket": "a.socket", "org.example.a": "org.example.a.service",
	} {
		if got := unitName(arg); got != want {
			t.Errorf("%q is %q, want %q", arg, got, want)
		}
	}
}
