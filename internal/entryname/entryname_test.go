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

// They lie in bundles, manifests and records of other luods: these are 0.1.0's.
func TestNamesOfOlderLuods(t *testing.T) {
	for got, want := range map[string]string{
		StoreName(12, "x"): "store:12:x", RecreateName(0, "x"): "recreate:0:x", SameName(3, "x"): "same:3:x", DirectoryName("/run/x"): "directory:/run/x",
	} {
		if got != want {
			t.Errorf("it is %q and was %q", got, want)
		}
	}
}
