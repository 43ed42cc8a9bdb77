package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestEnableAndDisable(t *testing.T) {
	for name, args := range map[string][]string{
		"dbus":      {"a"},
		"fdstore":   {"a.service", "--memfd=table:1M", "--memfd=index:4K", "--verify=sha256"},
		"directory": {"a.service", "--directory=/run/a", "--directory=/dev/shm/a"},
		"recreate":  {"a.service", "--recreate=files,sockets"},
		"preserve":  {"a.service", "--preserve=fdstore", "--fd-store-preserve"},
		"early":     {"a.service", "--preserve=fdstore", "--early"},
		"all":       {"a", "--preserve=session", "--timeout=1min 30s", "--on-failure=ignore", "--after=b.service,c.service", "--before=d.service", "--alias=old.service,older.service"},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			path := filepath.Join(root, "/etc/systemd/system/a.service.d/50-luod.conf")
			args := append([]string{"enable", "--root=" + root}, args...)
			shown := luoctl(t, append(args, "--dry-run")...)
			if _, err := os.Stat(path); err == nil {
				t.Fatal("the dry run wrote it")
			}
			golden(t, "enable-"+name, []byte(shown))
			if text := luoctl(t, args...); text != "Wrote /etc/systemd/system/a.service.d/50-luod.conf.\n" {
				t.Errorf("said %q", text)
			}
			if text, _ := os.ReadFile(path); !strings.HasSuffix(shown, "\n"+string(text)) {
				t.Errorf("wrote %q and showed %q", text, shown)
			}
			if text := luoctl(t, args...); text != "a.service: nothing to do.\n" {
				t.Errorf("a second time: %q", text)
			}
			if to, err := os.Readlink(filepath.Join(root, earlyDir, "a.service")); (err == nil) != (name == "early") {
				t.Errorf("the link for an early start: %q, %v", to, err)
			}
			off := []string{"disable", "--root=" + root, "a"}
			if text := luoctl(t, append(off, "--dry-run")...); !strings.HasPrefix(text, "Would remove") {
				t.Errorf("said %q", text)
			}
			if text := luoctl(t, off...); text != "Removed /etc/systemd/system/a.service.d/50-luod.conf.\n" {
				t.Errorf("said %q", text)
			}
			if _, err := os.Stat(filepath.Dir(path)); err == nil {
				t.Error("the empty directory is still there")
			}
			if _, err := os.Stat(filepath.Join(root, earlyDir)); err == nil {
				t.Error("the directory for an early start is still there")
			}
			if text := luoctl(t, off...); text != "a.service: nothing to do.\n" {
				t.Errorf("a second time: %q", text)
			}
		})
	}
}

func TestEnableKeepsWhatTheUnitHas(t *testing.T) {
	text, err := participation{}.dropIn("a.service", unitFacts{NotifyAccess: "all", StoreMax: 4096})
	if err != nil || strings.Contains(text, "NotifyAccess") || !strings.Contains(text, "FileDescriptorStoreMax=4096\n") || !strings.Contains(text, "Preserve=fdstore\n") {
		t.Errorf("%v, %s", err, text)
	}
}

func TestEnableSetsNothingThatPID1DoesNotKnow(t *testing.T) {
	p := participation{preserve: "fdstore", storePreserve: true}
	if text, err := p.dropIn("a.service", unitFacts{NoPreserve: true}); err == nil || !strings.Contains(err.Error(), "254") {
		t.Errorf("%v, %q", err, text)
	}
}

func TestEnableRefusesWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	foreign := filepath.Join(dir, "/etc/systemd/system/b.service.d/50-luod.conf")
	if err := replaceFile(foreign, "[Service]\n"); err != nil {
		t.Fatal(err)
	}
	for _, args := range []string{
		"enable", "disable", "enable a.socket", "enable a/b", "enable a --preserve=magic", "enable a --timeout=soon", "enable a --on-failure=explode",
		"enable a --verify=md5", "enable a --alias=a.service", "enable a --alias=b.socket", "enable a --after=a.service", "enable a --preserve=dbus --early", "enable a --preserve=dbus --memfd=x:1", "enable a --memfd=x;y:1", "enable a --directory=run/x", "enable a --preserve=dbus --directory=/run/x",
		"enable a --recreate=pipes", "enable a --preserve=dbus --recreate=files",
		"enable a --fd-store-preserve",
		"enable b", "disable b", "enable a b", "disable a b",
	} {
		cmd := root()
		cmd.SetArgs(append(strings.Fields(args), "--root="+dir))
		if err := cmd.Execute(); err == nil {
			t.Errorf("%s was done", args)
		}
	}
	entries, _ := os.ReadDir(filepath.Join(dir, "/etc/systemd/system"))
	if text, _ := os.ReadFile(foreign); string(text) != "[Service]\n" || len(entries) != 1 {
		t.Errorf("something was written: %v, %q", entries, text)
	}
}

func TestWhoCantBeEarly(t *testing.T) {
	fine := unitFacts{Type: "notify", Needs: []string{"sysinit.target", "system.slice", "-.mount", "var-lib.mount"}, After: []string{"basic.target", "network.target"}}
	if err := fine.canBeEarly("a.service"); err != nil {
		t.Error(err)
	}
	if others := fine.overtakes(); len(others) != 1 || others[0] != "network.target" {
		t.Errorf("it overtakes %q", others)
	}
	for _, f := range []unitFacts{{Type: "dbus"}, {Needs: []string{"dbus.socket"}}, {Needs: []string{"postgresql.service"}}} {
		if err := f.canBeEarly("a.service"); err == nil {
			t.Errorf("%+v can be early", f)
		}
	}
}
