package fakestore

import (
	"context"
	"fmt"
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/descriptor"
)

func memfd(t *testing.T) *os.File {
	t.Helper()
	fd, err := unix.MemfdCreate("t", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "memfd")
	t.Cleanup(func() { f.Close() })
	return f
}

func TestItHasThePeculiaritiesOfPID1(t *testing.T) {
	a, b, c := memfd(t), memfd(t), memfd(t)
	again, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", a.Fd()), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	twin, err := descriptor.Dup(a, a.Name())
	if err != nil {
		t.Fatal(err)
	}
	defer twin.Close()
	for name, test := range map[string]struct {
		max  int
		push []*os.File
		want []string
	}{
		"the newest comes first":                {3, []*os.File{a, b, c}, []string{"2", "1", "0"}},
		"what exceeds the limit is dropped":     {2, []*os.File{a, b, c}, []string{"1", "0"}},
		"a duplicate is not taken":              {3, []*os.File{a, twin, b}, []string{"2", "0"}},
		"the same file opened anew is another":  {3, []*os.File{a, again}, []string{"1", "0"}},
		"without a limit above 0 there is none": {0, []*os.File{a}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := New()
			defer s.Close()
			s.SetMax(test.max)
			for i, f := range test.push {
				if err := s.Push(fmt.Sprint(i), f); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Barrier(context.Background()); err != nil {
				t.Errorf("the barrier tells of it: %v", err)
			}
			if got := s.Names(); !slices.Equal(got, test.want) {
				t.Errorf("it has %q, want %q", got, test.want)
			}
		})
	}
}

func TestItShufflesAMessage(t *testing.T) {
	var files []*os.File
	for range 13 {
		files = append(files, memfd(t))
	}
	s := New()
	defer s.Close()
	if err := s.Push("m", files...); err != nil {
		t.Fatal(err)
	}
	var got, want []int
	for i, e := range s.Listen() {
		defer e.File.Close()
		want = append(want, i)
		got = append(got, slices.IndexFunc(files, func(f *os.File) bool { same, err := Same(f, e.File); return err == nil && same }))
	}
	straight := slices.Equal(got, want)
	slices.Reverse(got)
	if straight || slices.Equal(got, want) || !slices.Equal(slices.Sorted(slices.Values(got)), want) {
		t.Errorf("13 files come back as %d", got)
	}
}
