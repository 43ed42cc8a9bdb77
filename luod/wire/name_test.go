package wire

import "testing"

func TestNames(t *testing.T) {
	for _, name := range []string{"stored", "a", "x y"} {
		of := StoreName(12, name)
		if !FromStore(of) || FromStore(name) || PlainName(of) != name || PlainName(name) != name {
			t.Errorf("%q became %q and %q", name, of, PlainName(of))
		}
	}
}
