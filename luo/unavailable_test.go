package luo

import (
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestExplain(t *testing.T) {
	const built = "CONFIG_LIVEUPDATE=y\n"
	const khoDefault = "CONFIG_KEXEC_HANDOVER_ENABLE_DEFAULT=y\n"
	for _, c := range []struct{ release, commandLine, config, want string }{
		{"7.3.4", "quiet", "", "was not booted with liveupdate=on"},
		{"7.3.4", "liveupdate=off liveupdate=on", "CONFIG_X=y\n", "without CONFIG_LIVEUPDATE=y; boot one"},
		{"7.3.4", "liveupdate=on", "# CONFIG_LIVEUPDATE is not set\n", "without CONFIG_LIVEUPDATE=y; boot one"},
		{"7.3.4", "liveupdate=on", "CONFIG_LIVEUPDATE_TEST=y\n", "without CONFIG_LIVEUPDATE=y; boot one"},
		{"7.3.4", "liveupdate=on liveupdate=off", built, "was not booted with liveupdate=on"},
		{"7.3.4", "liveupdate", built, "was not booted with liveupdate=on"},
		{"7.3.4", "quiet -- liveupdate=on", built, "was not booted with liveupdate=on"},
		{"7.3.4", "liveupdate=on kho=off", built, "with KHO off"},
		{"7.3.4", "liveupdate=on kho=off", "", "with KHO off"},
		{"7.3.4", "liveupdate=on", built, "with KHO off"},
		{"7.3.4", "liveupdate=on", built + khoDefault, "refused what the previous kernel handed over"},
		{"7.3.4", "liveupdate=on kho=on", "", "refused what the previous kernel handed over"},
		{"7.3.4", "liveupdate=Yes kho=\"1\"", built, "refused what the previous kernel handed over"},
		{"6.18.0", "liveupdate=on", "", "older than Linux 6.19"},
		{"6.19.0-rc1", "", "", "was not booted with liveupdate=on"},
		{"5.10", "", "", "older than Linux 6.19"},
		{"strange", "", "", "was not booted with liveupdate=on"},
	} {
		if got := explain(c.release, c.commandLine, c.config); !strings.Contains(got, c.want) {
			t.Errorf("%+v: got %q", c, got)
		}
	}
}

func TestTheConfigurationIsUnpacked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.gz")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	z := gzip.NewWriter(f)
	if _, err := z.Write([]byte("CONFIG_LIVEUPDATE=y\n")); err != nil {
		t.Fatal(err)
	}
	z.Close()
	f.Close()
	if got := gzippedConfig(path); got != "CONFIG_LIVEUPDATE=y\n" {
		t.Errorf("got %q", got)
	}
	if err := os.WriteFile(path, []byte("no gzip"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{path, filepath.Join(t.TempDir(), "none")} {
		if got := gzippedConfig(p); got != "" {
			t.Errorf("%s: got %q", p, got)
		}
	}
}
