package loader

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/liveupdate/luod/internal/loading"
	"github.com/liveupdate/luod/kexec"
	"github.com/liveupdate/luod/luod/internal/limited"
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
	out, problems := limited.Buffer{Left: maxAnswer}, limited.Buffer{Left: 4096}
	cmd := exec.CommandContext(ctx, l.Program)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(request), &out, &problems
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	if ctx.Err() != nil {
		return loading.Answer{}, fmt.Errorf("ask luod-kexec: it did not answer in %v: %w", timeout, ctx.Err())
	}
	if err != nil {
		return loading.Answer{}, fmt.Errorf("ask luod-kexec: %w: %s", err, strings.TrimSpace(string(problems.Data)))
	}
	var answer loading.Answer
	if err := json.Unmarshal(out.Data, &answer); err != nil {
		return loading.Answer{}, fmt.Errorf("read luod-kexec's answer: %w", err)
	}
	return answer, nil
}
