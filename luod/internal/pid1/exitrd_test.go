package pid1

import (
	"os"
	"path/filepath"
	"testing"
)

func TestWhatAShutdownEndsIn(t *testing.T) {
	const dracut, arch, nixos = "dracut-shutdown.service", "mkinitcpio-generate-shutdown-ramfs.service", "generate-shutdown-ramfs.service"
	type file struct {
		text string
		mode os.FileMode
	}
	script, program := file{"#!/bin/sh\n", 0o755}, file{"\x7fELF\x02", 0o755}
	for _, c := range []struct {
		what   string
		files  map[string]file
		states map[string]string
		want   exit
	}{
		{"an ordinary system", nil, nil, direct},
		{"an initrd's script", map[string]file{"shutdown": script}, nil, foreign},
		{"a program", map[string]file{"shutdown": program}, nil, again},
		{"neither", map[string]file{"shutdown": {"", 0o755}}, nil, foreign},
		{"not executable", map[string]file{"shutdown": {"#!/bin/sh\n", 0o644}}, nil, direct},
		{"dracut, and nothing in it asks", map[string]file{"log/x": {}}, map[string]string{dracut: "active"}, direct},
		{"dracut, unpacked at the shutdown", map[string]file{".need_shutdown": {}}, map[string]string{dracut: "active"}, foreign},
		{"dracut, on its way up", map[string]file{".need_shutdown": {}}, map[string]string{dracut: "activating"}, foreign},
		{"dracut's unit doesn't run", map[string]file{".need_shutdown": {}}, map[string]string{dracut: "inactive"}, direct},
		{"dracut's unit failed", map[string]file{".need_shutdown": {}}, map[string]string{dracut: "failed"}, direct},
		{"without dracut's unit", map[string]file{".need_shutdown": {}}, nil, direct},
		{"dracut, unpacked already", map[string]file{"shutdown": script, "bin/sh": {}}, map[string]string{dracut: "inactive"}, foreign},
		{"Arch", nil, map[string]string{arch: "inactive"}, again},
		{"NixOS", nil, map[string]string{nixos: "inactive"}, again},
		{"two", map[string]file{".need_shutdown": {}}, map[string]string{dracut: "active", arch: "inactive"}, foreign},
	} {
		root := t.TempDir()
		for name, f := range c.files {
			path := filepath.Join(root, exitrd, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(f.text), f.mode); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := findExit(root, c.states); err != nil || got != c.want {
			t.Errorf("%s: got %v, %v, want %v", c.what, got, err, c.want)
		}
	}
}

func TestKexecIsFoundWhereDracutLooks(t *testing.T) {
	root := t.TempDir()
	if hasKexec(root) {
		t.Error("found where there is none")
	}
	if err := os.MkdirAll(filepath.Join(root, "usr/sbin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "usr/sbin/kexec"), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	if !hasKexec(root) {
		t.Error("not found")
	}
}
