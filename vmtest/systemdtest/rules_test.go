package systemdtest

import (
	"testing"

	"github.com/liveupdate/luod/vmtest/lab"
	"github.com/liveupdate/luod/vmtest/systemdtest/rules"
)

// TestRules runs the rules of PID 1 on the real one. What a rule leaves behind doesn't concern the next: each has units of its
// own.
func TestRules(t *testing.T) {
	each(t, func(t *testing.T, suite lab.Suite) {
		one := newReal(t, suite)
		for i, r := range rules.All() {
			t.Run(r.Name, func(t *testing.T) {
				system := one
				if r.Ends {
					system = newReal(t, suite)
				}
				r.Run(t, system, i)
			})
		}
	})
}
