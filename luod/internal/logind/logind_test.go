package logind

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// program is a luod-logind that does something else.
func program(t *testing.T, script string) Logind {
	t.Helper()
	path := filepath.Join(t.TempDir(), "luod-logind")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return Logind{path}
}

// What may have begun is never taken for what has not: an error is only of what can't have.
func TestAnUnclearRebootMayHaveBegun(t *testing.T) {
	for what, c := range map[string]struct {
		script string
		want   string
	}{
		"it has begun":           {`echo '{}'`, ""},
		"nobody knows":           {`echo '{"unclear":"no reply"}'`, ""},
		"it is killed":           {`kill -KILL $$`, ""},
		"it fails":               {`exit 3`, ""},
		"it says nothing":        {``, ""},
		"it says rubbish":        {`echo hello`, ""},
		"it says too much":       {`yes`, ""},
		"logind refuses":         {`echo '{"refused":"in progress"}'`, "in progress"},
		"there is no logind":     {`[ "$1" = reboot ] && echo '{"noLogind":"no bus"}'`, "no bus"},
		"it was killed too late": {`echo '{"refused":"in progress"}'; kill -KILL $$`, ""},
	} {
		err := program(t, c.script).Reboot(t.Context())
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) || errors.Is(err, ErrNone) != (c.want == "no bus") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := (Logind{"/nonexistent"}).Reboot(t.Context()); err == nil || errors.Is(err, ErrNone) {
		t.Errorf("a missing program: %v", err)
	}
}

func TestInhibitorsAreTold(t *testing.T) {
	list, err := program(t, `[ "$1" = inhibitors ] && echo '{"inhibitors":[{"What":"shutdown","Who":"a","Why":"b","Mode":"delay","UID":7,"PID":8}]}'`).Inhibitors(t.Context())
	if err != nil || len(list) != 1 || list[0].Who != "a" || list[0].Mode != "delay" || list[0].UID != 7 || list[0].PID != 8 {
		t.Errorf("%+v, %v", list, err)
	}
	if list, err := program(t, `echo '{"noLogind":"no bus"}'`).Inhibitors(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("without a logind: %+v, %v", list, err)
	}
	for what, script := range map[string]string{"unclear": `echo '{"unclear":"x"}'`, "killed": `kill -KILL $$`, "silent": ``} {
		if _, err := program(t, script).Inhibitors(t.Context()); err == nil {
			t.Errorf("%s: nobody holds anything", what)
		}
		if _, err := program(t, script).Preparing(t.Context()); err == nil && what != "unclear" {
			t.Errorf("%s: it does not prepare", what)
		}
	}
}

func TestALogindIsWatchedThoughTheProgramIsKilled(t *testing.T) {
	dir := t.TempDir()
	l := program(t, `echo >>`+dir+`/n; [ $(wc -l <`+dir+`/n) -ge 3 ] || kill -KILL $$; echo '{}'`)
	if err := l.GivenUp(t.Context()); err != nil {
		t.Error(err)
	}
	if text, err := os.ReadFile(dir + "/n"); err != nil || len(text) != 3 {
		t.Errorf("it ran %d times, %v", len(text), err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := program(t, `sleep 60`).GivenUp(ctx); err == nil || time.Since(began) > 10*time.Second {
		t.Errorf("%v after %s", err, time.Since(began))
	}
}
