package lab

import (
	"os"
	"path/filepath"
	"testing"
)

func TestBootFilesDependOnBothKernels(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vmlinuz")
	if err := os.WriteFile(path, []byte("one"), 0o644); err != nil {
		t.Fatal(err)
	}
	name := func(older, newer string) string {
		t.Helper()
		n, err := bootName(Kernel{Release: older, Image: path}, Kernel{Release: newer, Image: path})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	names := map[string]bool{name("1", "2"): true, name("1", "3"): true, name("2", "1"): true}
	if err := os.WriteFile(path, []byte("two"), 0o644); err != nil {
		t.Fatal(err)
	}
	names[name("1", "2")] = true
	if len(names) != 4 {
		t.Errorf("four pairs of kernels have %d names", len(names))
	}
}

func TestDracutFilesDependOnSuiteAndKernels(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vmlinuz")
	if err := os.WriteFile(path, []byte("one"), 0o644); err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, suite := range Suites {
		for _, newer := range []string{"2", "3"} {
			name, err := dracutName(suite, Kernel{Release: "1", Image: path}, Kernel{Release: newer, Image: path})
			if err != nil {
				t.Fatal(err)
			}
			names[name] = true
		}
	}
	if len(names) != 4 {
		t.Errorf("four sets of initrds have %d names", len(names))
	}
}

func TestBootEntriesNeedTwoKernels(t *testing.T) {
	for _, spec := range []Spec{
		{Suite: Trixie, BootEntries: true, Kernels: make([]Kernel, 1)},
		{Suite: Sid, BootEntries: true, Kernels: make([]Kernel, 2)},
		{Suite: Sid, Dracut: true, Kernels: make([]Kernel, 1)},
		{Suite: Trixie, Dracut: true, BootEntries: true, Kernels: make([]Kernel, 2)},
	} {
		if _, err := BuildImage(t.Context(), t.Output(), spec); err == nil {
			t.Errorf("built %+v", spec)
		}
	}
}
