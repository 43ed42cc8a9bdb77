package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime/debug"

	"github.com/liveupdate/luod/internal/loading"
)

// memoryLimit makes the collector work harder above so many bytes; unpacking a
// kernel takes up to a window of 128 MiB.
const memoryLimit = 192 << 20

// maxRequest bounds what is read, in bytes.
const maxRequest = 1 << 20

func main() {
	// luod itself is exempt from the OOM killer; this is the one to kill.
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("500"), 0)
	debug.SetMemoryLimit(memoryLimit)
	if len(os.Args) > 1 {
		fmt.Fprintln(os.Stderr, "luod-kexec works for luod, which asks it on standard input; use luoctl(1)")
		os.Exit(2)
	}
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "luod-kexec:", err)
		os.Exit(1)
	}
}

func run(in io.Reader, out io.Writer) error {
	text, err := io.ReadAll(io.LimitReader(in, maxRequest))
	if err != nil {
		return fmt.Errorf("read the request: %w", err)
	}
	var request loading.Request
	if err := json.Unmarshal(text, &request); err != nil {
		return fmt.Errorf("read the request: %w", err)
	}
	return json.NewEncoder(out).Encode(answer(thisMachine(), request))
}
