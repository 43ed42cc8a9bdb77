package pid1

import (
	"strings"
	"testing"
)

func TestSurvives(t *testing.T) {
	for _, c := range []struct {
		version, argv string
		ending        ending
		text          string
	}{
		{"257.13-1~deb13u1", "@luod", ending{}, ""},
		{`"257.13"`, "@luod", ending{}, ""},
		{"252", "@luod", ending{}, ""},
		{"257", "luod", ending{}, "argv[0]"},
		{"257", "@luod", ending{exit: foreign, kexec: true}, "into the initrd (/run/initramfs) and kill luod"},
		{"257", "@luod", ending{exit: again, kexec: true}, "into the initrd (/run/initramfs) and kill luod"},
		{"262.1-1", "luod", ending{}, ""},
		{"262.1-1", "luod", ending{exit: again}, ""},
		{"262.1-1", "luod", ending{exit: foreign, kexec: true}, ""},
		{"262.1-1", "luod", ending{exit: foreign}, "install kexec-tools and make the initrd again, or update with --fast"},
		{"262.1-1", "luod", ending{exit: foreign, kexec: true, losers: []string{"a.service", "b.service"}}, "PID 1 can't carry the fd stores of a.service, b.service"},
		{"", "luod", ending{}, "argv[0]"},
	} {
		err := survives(c.argv, majorVersion(c.version) >= carriesStores, c.ending)
		if (err == nil) != (c.text == "") || err != nil && !strings.Contains(err.Error(), c.text) {
			t.Errorf("%+v: got %v", c, err)
		}
	}
}
