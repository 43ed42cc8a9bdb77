package pid1

import (
	"strings"
	"testing"
)

func TestSurvives(t *testing.T) {
	for _, c := range []struct {
		version, argv string
		pivots        bool
		text          string
	}{
		{"257.13-1~deb13u1", "@luod", false, ""},
		{`"257.13"`, "@luod", false, ""},
		{"252", "@luod", false, ""},
		{"257", "luod", false, "argv[0]"},
		{"257", "@luod", true, "pivot"},
		{"262.1-1", "luod", true, ""},
		{"", "luod", false, "argv[0]"},
	} {
		err := survives(c.version, c.argv, c.pivots)
		if (err == nil) != (c.text == "") || err != nil && !strings.Contains(err.Error(), c.text) {
			t.Errorf("%+v: got %v", c, err)
		}
	}
}
