package barrier

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

var start = time.Unix(1000, 0)

func at(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }

func service(unit string, options ...func(*Member)) Member {
	m := Member{Unit: unit, Timeout: 10 * time.Second, Answers: true}
	for _, o := range options {
		o(&m)
	}
	return m
}

func after(units ...string) func(*Member)  { return func(m *Member) { m.After = units } }
func before(units ...string) func(*Member) { return func(m *Member) { m.Before = units } }
func optional(m *Member)                   { m.Optional = true }
func silent(m *Member)                     { m.Answers = false }

func make1(t *testing.T, members ...Member) *Barrier {
	t.Helper()
	b, err := New(members, at(60))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func expectTurns(t *testing.T, b *Barrier, now time.Time, want ...string) {
	t.Helper()
	if got := b.Turns(now); !slices.Equal(got, want) {
		t.Fatalf("the turn is %v's, want %v", got, want)
	}
}

func expectVerdict(t *testing.T, b *Barrier, want Verdict, reason string) {
	t.Helper()
	got, why := b.Verdict()
	if got != want || !strings.Contains(why, reason) || (why == "") != (reason == "") {
		t.Fatalf("the verdict is %d (%q), want %d (%q)", got, why, want, reason)
	}
}

func TestNobodyIsReadyAtOnce(t *testing.T) {
	b := make1(t)
	expectTurns(t, b, start)
	expectVerdict(t, b, Passed, "")
}

func TestTheOrderIsKeptAndTheRestIsParallel(t *testing.T) {
	b := make1(t, service("c", after("b")), service("a", before("b", "nobody")), service("b"), service("d"), service("quiet", silent, after("a")), service("e", after("quiet")))
	expectTurns(t, b, start, "a", "d")
	if err := b.Ready("c", start); !errors.Is(err, ErrNotYet) {
		t.Fatalf("out of turn: %v", err)
	}
	if err := b.Ready("a", at(1)); err != nil {
		t.Fatal(err)
	}
	expectTurns(t, b, at(1), "b", "e")
	expectTurns(t, b, at(1)) // nobody twice
	for _, unit := range []string{"b", "e", "d", "d"} {
		if err := b.Ready(unit, at(2)); err != nil {
			t.Fatal(err)
		}
	}
	expectVerdict(t, b, Closed, "")
	expectTurns(t, b, at(2), "c")
	if err := b.Ready("c", at(3)); err != nil {
		t.Fatal(err)
	}
	expectVerdict(t, b, Passed, "")
	if err := b.Ready("stranger", at(3)); !errors.Is(err, ErrNoMember) {
		t.Fatalf("a stranger: %v", err)
	}
	// One that was ready may still turn out not to be.
	if err := b.Fail("c", "died"); err != nil {
		t.Fatal(err)
	}
	expectVerdict(t, b, Refused, "c: died")
}

func TestOneRefusalIsEnough(t *testing.T) {
	b := make1(t, service("a"), service("b"), service("c", after("b")))
	expectTurns(t, b, start, "a", "b")
	if err := errors.Join(b.Ready("a", start), b.Fail("b", "busy"), b.Fail("b", "again")); err != nil {
		t.Fatal(err)
	}
	expectVerdict(t, b, Refused, "b: busy")
	expectTurns(t, b, start)
	if err := b.Ready("b", start); !errors.Is(err, ErrTooLate) {
		t.Fatalf("after Fail: %v", err)
	}
}

func TestTheOptionalIsLeftBehind(t *testing.T) {
	b := make1(t, service("a", optional), service("b", after("a")))
	expectTurns(t, b, start, "a")
	if next := b.Next(); !next.Equal(at(10)) {
		t.Fatalf("the next deadline is %v", next)
	}
	b.Expire(at(9))
	expectTurns(t, b, at(9))
	b.Expire(at(10))
	if err := b.Ready("a", at(10)); !errors.Is(err, ErrTooLate) {
		t.Fatalf("after its deadline: %v", err)
	}
	expectTurns(t, b, at(10), "b")
	if err := b.Ready("b", at(21)); !errors.Is(err, ErrTooLate) {
		t.Fatalf("late, and nobody has noticed: %v", err)
	}
	if err := b.Ready("b", at(11)); err != nil {
		t.Fatal(err)
	}
	expectVerdict(t, b, Passed, "")
	if s := b.Standings()[0]; s.Unit != "a" || s.State != Failed || !strings.Contains(s.Reason, "within 10s") {
		t.Fatalf("%+v", s)
	}
}

func TestAllTogetherHaveADeadline(t *testing.T) {
	b := make1(t, service("a", func(m *Member) { m.Timeout = time.Hour }), service("b", after("a")))
	expectTurns(t, b, start, "a")
	if next := b.Next(); !next.Equal(at(60)) {
		t.Fatalf("the next deadline is %v", next)
	}
	b.Expire(at(60))
	expectVerdict(t, b, Refused, "all services have together")
	if s := b.Standings()[1]; s.State != Failed {
		t.Fatalf("%+v", s)
	}
}

func TestACircleIsNamed(t *testing.T) {
	_, err := New([]Member{service("x"), service("a", after("b", "x")), service("b", after("c")), service("c", before("b"), after("a"))}, at(1))
	if err == nil || !strings.Contains(err.Error(), "circle") || strings.Contains(err.Error(), "x and") {
		t.Fatalf("got %v", err)
	}
	if _, err := New([]Member{service("a"), service("a")}, at(1)); err == nil {
		t.Fatal("one unit twice")
	}
}

// Whatever happens, nobody's turn comes before those it follows are done, and
// nothing passes unless all are ready or optional.
func TestNothingPassesUnlessAllAreReady(t *testing.T) {
	for seed := range uint64(5000) {
		r := rand.New(rand.NewPCG(seed, 0))
		names := []string{"a", "b", "c", "d", "e"}
		var members []Member
		for i, n := range names {
			m := Member{Unit: n, Timeout: time.Duration(1+r.IntN(20)) * time.Second, Answers: r.IntN(5) > 0, Optional: r.IntN(3) == 0}
			for _, earlier := range names[:i] {
				if r.IntN(3) == 0 {
					m.After = append(m.After, earlier)
				}
			}
			members = append(members, m)
		}
		b, err := New(members, at(60))
		if err != nil {
			t.Fatal(err)
		}
		now, said := start, map[string]bool{}
		state := func(unit string) State {
			for _, s := range b.Standings() {
				if s.Unit == unit {
					return s.State
				}
			}
			return ""
		}
		for range 30 {
			for _, turn := range b.Turns(now) {
				for _, earlier := range members[slices.Index(names, turn)].After {
					if s := state(earlier); s != Ready && s != Failed {
						t.Fatalf("seed %d: the turn of %s comes while %s is %s", seed, turn, earlier, s)
					}
				}
			}
			unit := names[r.IntN(len(names))]
			switch r.IntN(4) {
			case 0, 1:
				if b.Ready(unit, now) == nil {
					said[unit] = true
				}
			case 2:
				if r.IntN(6) == 0 {
					_ = b.Fail(unit, "no")
				}
			case 3:
				now = now.Add(time.Duration(r.IntN(3)) * time.Second)
				b.Expire(now)
			}
			verdict, reason := b.Verdict()
			for i, m := range members {
				s := state(m.Unit)
				if verdict == Passed && s != Ready && !(s == Failed && m.Optional) {
					t.Fatalf("seed %d: passed while %s is %s", seed, m.Unit, s)
				}
				if s == Ready && members[i].Answers && !said[m.Unit] {
					t.Fatalf("seed %d: %s is ready and never said so", seed, m.Unit)
				}
				if s == Failed && !m.Optional && (verdict != Refused || reason == "") {
					t.Fatalf("seed %d: %s failed and the verdict is %d", seed, m.Unit, verdict)
				}
			}
		}
	}
}
