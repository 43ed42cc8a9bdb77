package entryname

import "testing"

func TestNames(t *testing.T) {
	for _, name := range []string{"stored", "a", "x y"} {
		of := StoreName(12, name)
		if !Adopted(of) || Adopted(name) || PlainName(of) != name || PlainName(name) != name {
			t.Errorf("%q became %q and %q", name, of, PlainName(of))
		}
	}
	for i, of := range []string{RecreateName(7, "a"), SameName(7, "a")} {
		if !Adopted(of) || PlainName(of) != "a" || Recreated(of) != (i == 0) || Same(of) != (i == 1) {
			t.Errorf("%q is called %q", of, PlainName(of))
		}
	}
	of := DirectoryName("/run/x")
	if path, is := Directory(of); !is || path != "/run/x" || PlainName(of) != "/run/x" || !Adopted(of) {
		t.Errorf("%q is %q, %t", of, path, is)
	}
}
