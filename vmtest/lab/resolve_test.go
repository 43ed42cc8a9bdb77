package lab

import "testing"

func TestChooseKernels(t *testing.T) {
	for name, c := range map[string]struct {
		have         []debVersion
		older, newer string
	}{
		"the newest of two series": {[]debVersion{
			{"linux-source-7.2", "7.2.13-1"}, {"linux-source-7.2", "7.2.12-1~bpo13+1"},
			{"linux-source-7.3", "7.3.4-1~bpo13+1"}, {"linux-source-6.12", "6.12.117-1"},
		}, "7.2.13-1", "7.3.4-1~bpo13+1"},
		"numbers, not text": {[]debVersion{
			{"linux-source-7.9", "7.9.9-1"}, {"linux-source-7.10", "7.10-1"}, {"linux-source-7.9", "7.9.10-1"},
		}, "7.9.10-1", "7.10-1"},
		"one series": {[]debVersion{
			{"linux-source-7.2", "7.2.13-1"}, {"linux-source-7.2", "7.2.13-1~bpo13+1"}, {"linux-source-7.2", "7.2.12-1"},
		}, "7.2.12-1", "7.2.13-1"},
		"a package of another name does not count": {[]debVersion{
			{"linux-source", "7.4.1-1"}, {"linux-source-7.4-rt", "7.4.1-1"},
			{"linux-source-7.2", "7.2.13-1"}, {"linux-source-7.3", "7.3.4-1"},
		}, "7.2.13-1", "7.3.4-1"},
	} {
		t.Run(name, func(t *testing.T) {
			older, newer, err := chooseKernels(c.have)
			if err != nil || older.Version != c.older || newer.Version != c.newer {
				t.Errorf("got %v, %v, %v; want %s, %s", older, newer, err, c.older, c.newer)
			}
		})
	}
}

func TestChooseKernelsNeedsTwo(t *testing.T) {
	for _, have := range [][]debVersion{
		nil,
		{{"linux-source-6.12", "6.12.117-1"}},
		{{"linux-source-7.2", "7.2.13-1"}, {"linux-source-7.2", "7.2.13-2"}},
	} {
		if older, newer, err := chooseKernels(have); err == nil {
			t.Errorf("of %v it chose %v and %v", have, older, newer)
		}
	}
}

func TestParseMadison(t *testing.T) {
	got := parseMadison("linux-source-7.2 |   7.2.13-1 | http://mirror/debian sid/main amd64 Packages\nnonsense\n")
	if want := (debVersion{"linux-source-7.2", "7.2.13-1"}); len(got) != 1 || got[0] != want {
		t.Errorf("got %v", got)
	}
}

func TestParseStock(t *testing.T) {
	for out, want := range map[string]string{
		"linux-image-cloud-amd64\n  Depends: linux-image-6.12.117+deb13-cloud-amd64\n": "linux-image-6.12.117+deb13-cloud-amd64",
		"linux-image-cloud-amd64\n  Depends: linux-base-cloud-amd64\n  Depends: linux-image-7.3.4+deb13-cloud-amd64\n" +
			"  Depends: linux-modules-cloud-amd64\n": "linux-image-7.3.4+deb13-cloud-amd64",
		"linux-image-cloud-amd64\n": "",
		"linux-image-cloud-amd64\n  Depends: linux-image-1-cloud-amd64\n  Depends: linux-image-2-cloud-amd64\n": "",
	} {
		got, err := parseStock(out)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("of %q it took %q, %v", out, got, err)
		}
	}
}

func TestPickMirror(t *testing.T) {
	const targets = `DEP-11|Debian|Debian|http://mirror/dep11
Packages|Debian|Debian-Security|http://mirror/debian-security
Packages|Else|Debian|http://else/debian
Packages|Debian|Debian|http://mirror/debian/
`
	if got := pickMirror(targets); got != "http://mirror/debian" {
		t.Errorf("got %q", got)
	}
	if got := pickMirror("Packages|||http://mirror/debian\n"); got != "" {
		t.Errorf("took a site of unknown origin: %q", got)
	}
}

func TestMissingOptions(t *testing.T) {
	config := "CONFIG_LIVEUPDATE=y\nCONFIG_LIVEUPDATE_MEMFD=m\n# CONFIG_KEXEC_HANDOVER is not set\nCONFIG_KEXEC_FILE=y\n"
	got := missingOptions(config)
	if len(got) != 2 || got[0] != "CONFIG_LIVEUPDATE_MEMFD=y" || got[1] != "CONFIG_KEXEC_HANDOVER=y" {
		t.Errorf("got %v", got)
	}
}
