package loader

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/liveupdate/luod/internal/loading"
)

// program is a luod-kexec that does something else.
func program(t *testing.T, script string) Loader {
	t.Helper()
	path := filepath.Join(t.TempDir(), "luod-kexec")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return Loader{path}
}

func TestAQuestionGetsItsAnswer(t *testing.T) {
	l := program(t, `read question; case $question in *'"verb":"check"'*'"entry":"a.conf"'*) echo '{"kind":"NoEntry","error":"none"}';; esac`)
	answer, err := l.Ask(context.Background(), loading.Request{Verb: loading.Check, Entry: "a.conf"})
	if err != nil || answer.Kind != loading.NoEntry || answer.Error != "none" {
		t.Fatalf("%+v, %v", answer, err)
	}
}

// Whatever the process does, luod gets an error and goes on.
func TestWhateverLuodKexecDoesIsAnError(t *testing.T) {
	for what, c := range map[string]struct{ script, want string }{
		"it dies":          {"kill -SEGV $$", "segmentation fault"},
		"it fails":         {"echo 'out of luck' >&2; exit 3", "out of luck"},
		"it says nothing":  {"", "answer"},
		"it says rubbish":  {"echo hello", "answer"},
		"it says too much": {"yes", "ask luod-kexec"},
		"it complains on":  {"yes >&2", "ask luod-kexec"},
	} {
		if answer, err := program(t, c.script).Ask(context.Background(), loading.Request{}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %+v, %v", what, answer, err)
		}
	}
	if _, err := (Loader{"/nonexistent"}).Ask(context.Background(), loading.Request{}); err == nil {
		t.Error("a missing program answered")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	if _, err := program(t, "sleep 30").Ask(ctx, loading.Request{}); err == nil || time.Since(began) > 10*time.Second {
		t.Errorf("it hung for %v: %v", time.Since(began), err)
	}
}
