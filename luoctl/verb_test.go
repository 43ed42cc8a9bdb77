package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func fakeRoot(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	files[shim] = "#!"
	files[completion] = "#"
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestVerb(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		link  string
		sudo  bool
	}{
		"Debian":               {map[string]string{"/etc/sudoers": "Defaults\tenv_reset\nDefaults\tsecure_path=\"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin\"\n"}, "/usr/local/sbin/systemctl", true},
		"no sudo":              {map[string]string{}, "/usr/local/sbin/systemctl", true},
		"a sudo of few places": {map[string]string{"/etc/sudoers": "# Defaults secure_path=/usr/local/sbin\nDefaults    secure_path = /sbin:/bin:/usr/sbin:/usr/bin\n"}, "/usr/local/sbin/systemctl", false},
		"another login.defs":   {map[string]string{"/etc/login.defs": "# ENV_SUPATH x\nENV_SUPATH\tPATH=/usr/local/bin:/usr/bin\n"}, "/usr/local/bin/systemctl", true},
		"nothing local":        {map[string]string{"/etc/login.defs": "ENV_SUPATH PATH=/sbin:/bin:/usr/local/sbin\n"}, "", false},
		"somebody else's":      {map[string]string{"/usr/local/sbin/systemctl": "mine"}, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			root := fakeRoot(t, c.files)
			for range 2 { // a second time changes nothing
				link, err := enableVerb(root)
				if link != c.link || (err == nil) != (c.link != "") {
					t.Fatalf("%q, %v", link, err)
				}
				if s := verbStatus(root); s.Link != c.link || s.Sudo != c.sudo || s.Root != (c.link != "") {
					t.Fatalf("%+v", s)
				}
			}
			if text, ours := c.files["/usr/local/sbin/systemctl"]; ours {
				if now, _ := os.ReadFile(filepath.Join(root, "/usr/local/sbin/systemctl")); string(now) != text {
					t.Errorf("it was changed to %q", now)
				}
			}
			if c.link != "" {
				luoctl(t, "systemctl-verb", "enable", "--root="+root)
				if to, err := os.Readlink(filepath.Join(root, completionLink)); to != completion {
					t.Errorf("the completion is %q, %v", to, err)
				}
			}
			cmd := luoctl(t, "systemctl-verb", "disable", "--root="+root)
			if !strings.Contains(cmd, map[bool]string{true: "Removed " + c.link, false: "not enabled"}[c.link != ""]) {
				t.Errorf("disable says %q", cmd)
			}
			if s := verbStatus(root); s.Link != "" {
				t.Errorf("%+v", s)
			}
			if _, err := os.Lstat(filepath.Join(root, completionLink)); err == nil {
				t.Error("the completion is still there")
			}
		})
	}
}

// luoctl runs luoctl and returns what it says.
func luoctl(t *testing.T, args ...string) string {
	t.Helper()
	var out strings.Builder
	cmd := root()
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	if err := cmd.Execute(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}
