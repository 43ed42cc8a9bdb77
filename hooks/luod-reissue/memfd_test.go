package main

import "testing"

func TestParseMemfd(t *testing.T) {
	for text, want := range map[string]memfd{
		"a:0": {"a", 0}, "a:1": {"a", 1}, "table:4K": {"table", 4096}, "x:1M": {"x", 1 << 20}, "x:2G": {"x", 2 << 30},
	} {
		if got, err := parseMemfd(text); err != nil || got != want {
			t.Errorf("%q: got %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "a", "a:", ":1", "a:K", "a:-1", "a:1T", "a:1.5", "a\n:1", "a:9223372036854775808", "a:9007199254740993K"} {
		if got, err := parseMemfd(text); err == nil {
			t.Errorf("%q gave %v", text, got)
		}
	}
}
