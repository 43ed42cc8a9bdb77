package rig

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/liveupdate/luod/vmtest/lab"
)

//go:embed services/store.c
var storeSource []byte

// compileStore makes the service in C.
func compileStore(ctx context.Context) (lab.File, error) {
	dir, err := os.MkdirTemp("", "luod-lab-")
	if err != nil {
		return lab.File{}, fmt.Errorf("compile store.c: %w", err)
	}
	defer os.RemoveAll(dir)
	source, out := filepath.Join(dir, "store.c"), filepath.Join(dir, "store")
	if err := os.WriteFile(source, storeSource, 0o600); err != nil {
		return lab.File{}, fmt.Errorf("compile store.c: %w", err)
	}
	// A static program runs in every image.
	cmd := exec.CommandContext(ctx, "gcc", "-Wall", "-Werror", "-O2", "-static", "-s", "-Wl,--build-id=none", "-o", out, "store.c")
	cmd.Dir = dir
	if text, err := cmd.CombinedOutput(); err != nil {
		return lab.File{}, fmt.Errorf("compile store.c: %w:\n%s", err, text)
	}
	data, err := os.ReadFile(out)
	return lab.File{Path: "/usr/lib/luod-lab/store", Mode: 0o755, Data: data}, err
}
