//go:build luofake

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/liveupdate/luod/internal/loading"
	"github.com/liveupdate/luod/kexec"
	"github.com/liveupdate/luod/kexec/verdict"
	"github.com/liveupdate/luod/luo"
	"github.com/liveupdate/luod/luo/luofake/outside"
	"github.com/liveupdate/luod/luod/internal/nextkernel"
)

// A luod with the tag luofake is never packaged: its kernel is a test's, which runs outside of luod's system
// (vmtest/systemdtest). What is loaded is noted in files, where a test can read them.
const (
	fakeKernel = outside.Driver("/dev/outside/luo")
	// loadedPath is the kernel's own, on a file system that the test has put there.
	loadedPath = "/sys/kernel/kexec_loaded"
	leftPath   = "/run/luofake-loads-left"
	linePath   = "/run/luofake-command-line"
)

func kernel() *luo.Kernel { return luo.NewWithDriver(fakeKernel) }

func nextKernel() nextkernel.Loader { return fakeLoader{} }

// fakeLoader finds nothing wrong with any kernel.
type fakeLoader struct{}

func (l fakeLoader) Ask(_ context.Context, r loading.Request) (loading.Answer, error) {
	target := kexec.Target{Kernel: r.Entry, Initrds: r.Initrds, CommandLine: fmt.Sprintf("%s luod.generation=%d", r.CommandLine, r.Generation)}
	if r.Again != nil {
		target = r.Again.Target
	}
	answer := loading.Answer{Report: &verdict.Report{Target: target, Release: "fake", Digest: "fake", Results: []verdict.Result{{Name: "kernel-image", Verdict: verdict.OK}}}}
	if r.Verb != loading.Load {
		return answer, nil
	}
	left, err := l.Left()
	if err == nil {
		err = l.note("1", left-1)
	}
	answer.Proof = &loading.Proof{Left: left - 1}
	return answer, errors.Join(err, os.WriteFile(linePath, []byte(target.CommandLine), 0o600))
}

func (fakeLoader) note(loaded string, left int) error {
	return errors.Join(os.WriteFile(loadedPath, []byte(loaded), 0o644), os.WriteFile(leftPath, []byte(strconv.Itoa(left)), 0o600))
}

func (l fakeLoader) Unload() error {
	left, err := l.Left()
	return errors.Join(err, l.note("0", left-1))
}

func (fakeLoader) Loaded() (bool, error) {
	text, err := os.ReadFile(loadedPath)
	return strings.TrimSpace(string(text)) == "1", err
}

func (fakeLoader) Left() (int, error) {
	text, err := os.ReadFile(leftPath)
	if errors.Is(err, os.ErrNotExist) {
		return 1000, nil
	}
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(text))
}
