package quota

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

func TestMeter(t *testing.T) {
	m := Meter{Rate: 500, Burst: 2000}
	now := time.Unix(1000, 0)
	take := func(owner string) (taken int) {
		for m.Take(owner, now) == nil {
			taken++
		}
		return taken
	}
	if n := take("a"); n != m.Burst {
		t.Errorf("%d in a row", n)
	}
	var e *Exceeded
	if err := m.Take("a", now); !errors.As(err, &e) || e.Owner != "a" {
		t.Errorf("got %v", err)
	}
	if n := take("b"); n != m.Burst {
		t.Errorf("another has %d: one takes from the other", n)
	}
	now = now.Add(-time.Hour)
	if n := take("a"); n != 0 {
		t.Errorf("%d after the clock went back", n)
	}
	now = now.Add(time.Second)
	if n := take("a"); n != m.Rate {
		t.Errorf("%d after a second", n)
	}
	now = now.Add(time.Hour)
	if n := take("a"); n != m.Burst {
		t.Errorf("%d after an hour", n)
	}
}

func TestTheQuietAreForgotten(t *testing.T) {
	m := Meter{Rate: 500, Burst: 2000}
	now := time.Unix(1000, 0)
	for i := range maxOwners {
		if err := m.Take(fmt.Sprint(i), now); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Take("new", now); err == nil {
		t.Error("there is no bound")
	}
	now = now.Add(time.Minute)
	if err := m.Take("new", now); err != nil || len(m.buckets) != 1 {
		t.Errorf("%v, %d buckets", err, len(m.buckets))
	}
}
