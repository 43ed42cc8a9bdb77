package loader

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/liveupdate/luod/internal/loading"
	"github.com/liveupdate/luod/kexec"
)

// Program is luod-kexec as it is installed.
const Program = "/usr/lib/luod/luod-kexec"

// Loader runs a luod-kexec.
type Loader struct{ Program string }

// Unload unloads whatever is loaded.
func (Loader) Unload() error { return kexec.Unload() }

// Loaded says whether a kernel is loaded, by whomever.
func (Loader) Loaded() (bool, error) { return kexec.Loaded() }

// Left is how many more kernels may be loaded: it is less for each that was.
func (Loader) Left() (int, error) { return kexec.LoadsLeft() }

const (
	// timeout is for a large initrd on a slow disk.
	timeout = 2 * time.Minute
	// maxAnswer bounds what is read, in bytes.
	maxAnswer = 8 << 20
)

// Ask asks for r. An error means that there is no answer; what the answer says is
// another matter.
//
// Killed meanwhile: luod-kexec dies with luod. It may have loaded the kernel; the
// record says that nothing is, and so it is refused as somebody else's.
func (l Loader) Ask(ctx context.Context, r loading.Request) (loading.Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	request, err := json.Marshal(r)
	if err != nil {
		return loading.Answer{}, fmt.Errorf("ask luod-kexec: %w", err)
	}
	out, problems := limited{left: maxAnswer}, limited{left: 4096}
	cmd := exec.CommandContext(ctx, l.Program)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(request), &out, &problems
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	if ctx.Err() != nil {
		return loading.Answer{}, fmt.Errorf("ask luod-kexec: it did not answer in %v: %w", timeout, ctx.Err())
	}
	if err != nil {
		return loading.Answer{}, fmt.Errorf("ask luod-kexec: %w: %s", err, strings.TrimSpace(string(problems.data)))
	}
	var answer loading.Answer
	if err := json.Unmarshal(out.data, &answer); err != nil {
		return loading.Answer{}, fmt.Errorf("read luod-kexec's answer: %w", err)
	}
	return answer, nil
}

// limited is a buffer that takes so much. It has no other method than Write, so
// that nobody copies past the limit.
type limited struct {
	data []byte
	left int
}

var errTooLong = errors.New("it says too much")

func (l *limited) Write(b []byte) (int, error) {
	if len(b) > l.left {
		return 0, errTooLong
	}
	l.left -= len(b)
	l.data = append(l.data, b...)
	return len(b), nil
}
