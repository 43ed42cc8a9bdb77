package version

import (
	"testing"
)

// The examples of UAPI.10, and corner cases of systemd's own
// (src/test/test-string-util.c).
func TestCompareVersions(t *testing.T) {
	for _, c := range []struct {
		a    string
		want int
		b    string
	}{
		{"11", 0, "11"}, {"systemd-123", 0, "systemd-123"}, {"bar-123", -1, "foo-123"},
		{"123a", 1, "123"}, {"123.a", 1, "123"}, {"123.a", -1, "123.b"}, {"123a", 1, "123.a"},
		{"11α", 0, "11β"}, {"A", -1, "a"}, {"B", -1, "a"},
		{"", -1, "0"}, {"0.", 1, "0"}, {"0.0", 1, "0"}, {"0", 1, "~"}, {"", 1, "~"},
		{"1_", 0, "1"}, {"_1", 0, "1"}, {"1_", -1, "1.2"}, {"1_2_3", 1, "1.3.3"},
		{"1+", 0, "1"}, {"+1", 0, "1"}, {"1+", -1, "1.2"}, {"1+2+3", 1, "1.3.3"},

		{"00123", 0, "123"}, {"9", -1, "10"}, {"123.", 1, "123"}, {"12_3", -1, "123"}, {"12_3", 1, "12"},
		{"12_3", 1, "12.3"}, {"123.0", 1, "123"}, {"123_0", 1, "123"}, {"123..0", 1, "123"},
		{"123_aa2-67.89", 0, "123aa+2-67.89"}, {"", 0, ""}, {"~", 0, "~"}, {"~~", 1, "~"},
		{"6.12.0-rc1", 1, "6.11.99"}, {"99999999999999999999999999999999", 1, "9999999999999999999999999999999"},
	} {
		if got := Compare(c.a, c.b); got != c.want {
			t.Errorf("%q and %q: %d, want %d", c.a, c.b, got, c.want)
		}
		if got := Compare(c.b, c.a); got != -c.want {
			t.Errorf("%q and %q: %d, want %d", c.b, c.a, got, -c.want)
		}
	}
	order := []string{
		"122.1", "123~rc1-1", "123", "123-a", "123-a.1", "123-1", "123-1.1", "123^post1", "123.a-1", "123.1-1", "123a-1", "124-1",
	}
	for i, a := range order {
		for j, b := range order {
			if got := Compare(a, b); got != sign(i-j) {
				t.Errorf("%q and %q: %d, want %d", a, b, got, sign(i-j))
			}
		}
	}
}

func sign(n int) int { return min(max(n, -1), 1) }
