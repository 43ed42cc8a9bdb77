package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

var someStakes = stakes{Units: []stake{{"a.service", 3, 1 << 20, 3}, {"long-name.service", 1, 4096, 0}}}

// holder is a luod that holds something until it is told to give it up.
type holder struct {
	holds     stakes
	discarded int
	// err is what it answers when it is to give up, and look when it is to say what it has.
	err, look error
}

func (h *holder) ask(dryRun bool) (stakes, error) {
	was := h.holds
	if dryRun && h.look != nil {
		return stakes{}, h.look
	}
	if !dryRun {
		if h.err != nil {
			return stakes{}, h.err
		}
		h.discarded++
		h.holds = stakes{}
	}
	return was, nil
}

func TestDiscardAllAsks(t *testing.T) {
	broken := errors.New("the kernel still has it")
	for name, c := range map[string]struct {
		how    discardAll
		answer string
		holds  stakes
		err    error
		look   error
		gone   bool
		code   int
	}{
		"nothing":                   {how: discardAll{}},
		"nothing-json":              {how: discardAll{json: true}},
		"dry-run":                   {how: discardAll{dryRun: true}, holds: someStakes, code: exitHeld},
		"dry-run-json":              {how: discardAll{dryRun: true, json: true}, holds: someStakes, code: exitHeld},
		"dry-run-nothing":           {how: discardAll{dryRun: true, terminal: true}},
		"dry-run-unread":            {how: discardAll{dryRun: true}, holds: stakes{Units: []stake{}, Unread: "what the previous kernel handed over could not be restored: out of memory", Stuck: 2}, code: exitHeld},
		"dry-run-in-spite-of-force": {how: discardAll{dryRun: true, force: true}, holds: someStakes, code: exitHeld},
		"no-terminal":               {how: discardAll{}, answer: "y\n", holds: someStakes, code: 1},
		"yes":                       {how: discardAll{terminal: true}, answer: "Yes\n", holds: someStakes, gone: true},
		"no":                        {how: discardAll{terminal: true}, answer: "n\n", holds: someStakes, code: 1},
		"no-answer":                 {how: discardAll{terminal: true}, holds: someStakes, code: 1},
		"force":                     {how: discardAll{force: true}, holds: someStakes, gone: true},
		"force-json":                {how: discardAll{force: true, json: true}, holds: someStakes, gone: true},
		"dry-run-busy":              {how: discardAll{dryRun: true}, look: &refusal{"Busy", "a live update is under way"}, code: exitHeld},
		"busy":                      {how: discardAll{force: true}, look: &refusal{"Busy", "a live update is under way"}, code: 1},
		"dry-run-no-luod":           {how: discardAll{dryRun: true}, look: &refusal{"org.freedesktop.DBus.Error.UnknownMethod", "an older luod"}, code: 1},
		"could-not":                 {how: discardAll{force: true}, holds: someStakes, err: broken, code: 1},
	} {
		t.Run(name, func(t *testing.T) {
			if c.holds.Units == nil {
				c.holds.Units = []stake{}
			}
			luod := &holder{holds: c.holds, err: c.err, look: c.look}
			var out, questions bytes.Buffer
			c.how.in, c.how.out, c.how.questions = strings.NewReader(c.answer), &out, &questions
			err := c.how.run(luod.ask)
			code, said := 0, ""
			var exit *exitCode
			switch {
			case errors.As(err, &exit):
				code = exit.code
			case err != nil:
				code, said = 1, err.Error()+"\n"
			}
			if code != c.code || luod.discarded == 1 != c.gone {
				t.Errorf("exit code %d (%v), discarded %d times", code, err, luod.discarded)
			}
			golden(t, "discard-all-"+name, fmt.Appendf(nil, "%s%s%s", questions.String(), out.String(), said))
		})
	}
}

func TestDiscardTakesAUnitOrAll(t *testing.T) {
	for _, args := range [][]string{{}, {"--all", "a.service"}, {"a.service", "--force"}, {"--dry-run"}} {
		cmd := root()
		cmd.SetArgs(append([]string{"discard"}, args...))
		if err := cmd.Execute(); err == nil || !strings.Contains(err.Error(), "--all") {
			t.Errorf("%q: %v", args, err)
		}
	}
}

func TestCompletionKnowsTheWaysOut(t *testing.T) {
	for _, c := range []struct {
		verb  string
		flags []string
	}{{"discard", []string{"--all", "--force", "--dry-run"}}, {"unload", []string{"--own"}}, {"disable", []string{"--force"}}} {
		text := luoctl(t, "__complete", c.verb, "--")
		for _, flag := range c.flags {
			if !strings.Contains(text, flag+"\t") {
				t.Errorf("%s: no %s in %q", c.verb, flag, text)
			}
		}
	}
}
