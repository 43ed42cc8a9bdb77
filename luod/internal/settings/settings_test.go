package settings

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func write(t *testing.T, root, path, text string) {
	t.Helper()
	path = filepath.Join(root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestTheStrongestFileCounts(t *testing.T) {
	root := t.TempDir()
	if s, problems := Load(root); s != Default() || problems != nil {
		t.Fatalf("%+v, %v", s, problems)
	}
	write(t, root, "/usr/lib/luod/luod.conf", "[LiveUpdate]\nHookTimeoutSec=1\n")
	write(t, root, "/etc/luod/luod.conf", "[LiveUpdate]\nDefaultTimeoutSec=20\nPrepareTimeoutSec=1min 30s\n[Quota]\nBytesMax=512M\nSessionsMax=3\n")
	write(t, root, "/usr/lib/luod/luod.conf.d/20-x.conf", "[LiveUpdate]\nDefaultTimeoutSec=30\n")
	write(t, root, "/etc/luod/luod.conf.d/20-x.conf", "[LiveUpdate]\nDefaultTimeoutSec=40\n")
	write(t, root, "/etc/luod/luod.conf.d/10-y.conf", "[LiveUpdate]\nDefaultTimeoutSec=50\nStopTimeoutSec=\nRetainSec=1d\nLoginBanner=yes\n[Quota]\nCallsBurst=7\n")
	write(t, root, "/etc/luod/luod.conf.d/README", "[LiveUpdate]\nDefaultTimeoutSec=60\n")
	want := Default()
	want.DefaultTimeout, want.PrepareTimeout = 40*time.Second, 90*time.Second
	want.Retain, want.LoginBanner = 24*time.Hour, true
	want.BytesMax, want.SessionsMax, want.CallsBurst = 512<<20, 3, 7
	if s, problems := Load(root); s != want || problems != nil {
		t.Fatalf("%+v, %v", s, problems)
	}
	// A mask.
	if err := os.Remove(filepath.Join(root, "/etc/luod/luod.conf.d/20-x.conf")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/null", filepath.Join(root, "/etc/luod/luod.conf.d/20-x.conf")); err != nil {
		t.Fatal(err)
	}
	want.DefaultTimeout = 50 * time.Second
	if s, problems := Load(root); s != want || problems != nil {
		t.Fatalf("%+v, %v", s, problems)
	}
}

func TestWhatIsWrongHasNoEffect(t *testing.T) {
	for _, line := range []string{
		"DefaultTimeoutSec=soon", "DefaultTimeoutSec=0", "DefaultTimeoutSec=infinity", "PrepareTimeoutSec=2h", "Colour=red", "LoginBanner=perhaps",
		"FileDescriptorsMax=5", "[Quota]\nFileDescriptorsMax=0", "[Quota]\nFileDescriptorsMax=x", "[Quota]\nSessionsMax=1000",
		"[Quota]\nBytesMax=-1", "[Quota]\nBytesMax=M", "[Quota]\nBytesMax=99999999999T", "[Quota]\nBytesMax=5X", "[Nothing]\nX=1",
	} {
		root := t.TempDir()
		write(t, root, "/etc/luod/luod.conf", "[LiveUpdate]\n"+line+"\nInhibitDelayMaxSec=1\n")
		s, problems := Load(root)
		s.InhibitDelayMax = Default().InhibitDelayMax
		if s != Default() || len(problems) == 0 || !strings.Contains(fmt.Sprint(problems), "/etc/luod/luod.conf: ") {
			t.Errorf("%s: %+v, %v", line, s, problems)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("[LiveUpdate]\nDefaultTimeoutSec=1min\n[Quota]\nBytesMax=1G\n"))
	f.Add([]byte("[Quota]\nBytesMax=\\\n1\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s := Default()
		s.read("x", data)
		if s.DefaultTimeout <= 0 || s.PrepareTimeout <= 0 || s.BytesMax <= 0 || s.FileDescriptorsMax <= 0 || s.CallsBurst <= 0 {
			t.Fatalf("%+v", s)
		}
	})
}
