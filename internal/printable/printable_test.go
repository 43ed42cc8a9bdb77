package printable

import (
	"reflect"
	"testing"
)

func TestWhatATerminalWouldObeyIsEscaped(t *testing.T) {
	for in, want := range map[string]string{
		"plain":                   "plain",
		"ä → 漢 \u00a0":            `ä → 漢 \u00a0`,
		"\x1b[31mred":             `\x1b[31mred`,
		"a\rb\x07\x7f":            `a\x0db\x07\x7f`,
		"\u009b31m":               `\u009b31m`,
		"\u202edlrow":             `\u202edlrow`,
		"\xff\xfe":                `\xff\xfe`,
		"\U000e0041":              `\U000e0041`,
		"two\nlines\tand a table": `two\nlines\x09and a table`,
		"�":                       `\ufffd`,
		"":                        "",
	} {
		if got := Line(in); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
	if got := Text("two\nlines\x1b"); got != "two\nlines\\x1b" {
		t.Errorf("%q", got)
	}
}

func TestAllFindsEveryString(t *testing.T) {
	type path string
	type inner struct {
		Name   string
		Bytes  []byte
		hidden string
	}
	type outer struct {
		Inner  inner
		List   []any
		Map    map[string]any
		Array  [1]path
		Number uint64
		To     *inner
		None   *inner
		Nil    any
	}
	bad, good := "\x1b", `\x1b`
	of := func(s string) outer {
		return outer{
			Inner: inner{Name: s, Bytes: []byte{27}}, List: []any{s, []string{s}, 7, [][]any{{s}}}, Map: map[string]any{s: s, "n": uint32(1)},
			Array: [1]path{path(s)}, Number: 27, To: &inner{Name: s},
		}
	}
	given := of(bad)
	given.Inner.hidden = bad
	want := of(good)
	want.Inner.hidden = bad
	if got := All(given, nil); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if given.List[1].([]string)[0] != bad {
		t.Error("it has changed what it was given")
	}
	var none any
	if got := All(none, nil); got != nil {
		t.Errorf("%v", got)
	}
}

func TestAllOpensWhatItIsTold(t *testing.T) {
	type closed struct{ text string }
	open := func(v any) (any, bool) {
		c, is := v.(closed)
		return closed{Text(c.text)}, is
	}
	got := All([]any{map[string]closed{"a": {"\x1b"}}, closed{"b\x07"}}, open)
	if want := []any{map[string]closed{"a": {`\x1b`}}, closed{`b\x07`}}; !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
}
