package luo

import (
	"strings"
	"testing"
)

func TestExplain(t *testing.T) {
	for _, c := range []struct{ commandLine, config, want string }{
		{"quiet", "", "was not booted with liveupdate=on"},
		{"liveupdate=off liveupdate=on", "CONFIG_X=y", "without CONFIG_LIVEUPDATE=y; boot one"},
		{"liveupdate=on liveupdate=off", "CONFIG_LIVEUPDATE=y", "was not booted with liveupdate=on"},
		{"liveupdate=on kho=off", "CONFIG_LIVEUPDATE=y", "with KHO off"},
		{"liveupdate=on kho=on", "", "refused what the previous kernel handed over"},
	} {
		if got := explain("7.3.4", c.commandLine, c.config); !strings.Contains(got, c.want) {
			t.Errorf("%+v: got %q", c, got)
		}
	}
}
