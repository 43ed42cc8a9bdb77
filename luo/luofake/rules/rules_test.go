package rules

import (
	"errors"
	"os"
	"testing"

	"github.com/liveupdate/luod/luo/luofake"
)

var _ Kernel = (*luofake.Kernel)(nil)

// The running kernel's turn is in vmtest: TestTheFakeKernelIsLikeTheRealOne.
func TestTheFakeKernelKeepsTheRules(t *testing.T) {
	for _, rule := range All {
		t.Run(rule.Name, func(t *testing.T) {
			if rule.RealOnly != "" {
				t.Skip(rule.RealOnly)
			}
			k := luofake.New()
			try := &Try{Kernel: k}
			defer try.Close()
			err := rule.Before(try)
			if errors.Is(err, ErrSkip) {
				t.Skip(err)
			}
			if err != nil || rule.After == nil {
				if err != nil {
					t.Error(err)
				}
				return
			}
			next, err := k.Kexec()
			if err != nil {
				t.Fatal(err)
			}
			after := &Try{Kernel: next}
			defer after.Close()
			if err := rule.After(after); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestNothingOfATryIsLeftOpen(t *testing.T) {
	open := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	before := 0
	for range 2 { // the first time opens what the runtime keeps
		before = open()
		k := luofake.New()
		for _, rule := range All {
			if rule.RealOnly == "" && rule.After == nil && rule.FakeOnly == "" {
				try := &Try{Kernel: k}
				_ = rule.Before(try)
				try.Close()
			}
		}
		k.Settle()
	}
	if after := open(); after != before {
		t.Errorf("%d file descriptors before, %d after", before, after)
	}
}
