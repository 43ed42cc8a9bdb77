package client

import (
	"context"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/liveupdate/luod/client/errorname"
)

// within is long enough for everything here, and short enough to see what hangs.
func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// A luod that takes a call and dies is called again, whether it had carried the call out
// or not, and the call's work is done once.
func TestACallIsRepeatedWhenLuodGoesAway(t *testing.T) {
	names, files := memfds(t, 3)
	held := func(want ...string) func(*manager) string {
		return func(m *manager) string {
			if !slices.Equal(m.names, want) {
				return fmt.Sprintf("held: %v, not %v", m.names, want)
			}
			return ""
		}
	}
	said := func(want string) func(*manager) string {
		return func(m *manager) string {
			if len(m.said) == 0 || slices.ContainsFunc(m.said, func(s string) bool { return s != want }) {
				return fmt.Sprintf("said: %v", m.said)
			}
			return ""
		}
	}
	ok := func(*manager) string { return "" }
	for _, one := range []struct {
		method string
		call   func(ctx context.Context, c *Client) error
		good   func(m *manager) string
	}{
		{"Preserve", func(ctx context.Context, c *Client) error {
			return c.Preserve(ctx, []string{"new"}, files[2:])
		}, held("fd-00", "fd-01", "new")},
		{"Release", func(ctx context.Context, c *Client) error { return c.Release(ctx, names[:1]) }, held("fd-01")},
		{"Release", func(ctx context.Context, c *Client) error { return c.ReleaseAll(ctx) }, held()},
		{"Retrieve", retrieveTwo, held(names[:2]...)},
		{"ListNames", retrieveTwo, held(names[:2]...)},
		{"Register", func(ctx context.Context, c *Client) error {
			_, err := c.Register(ctx, Participation{Optional: true})
			return err
		}, func(m *manager) string {
			if m.registered == 0 || m.options["on-failure"].Value() != "ignore" {
				return fmt.Sprint("registered: ", m.registered, m.options)
			}
			return ""
		}},
		{"Unregister", func(ctx context.Context, c *Client) error { return c.Unregister(ctx) }, func(m *manager) string {
			if m.registered != 0 {
				return "still registered"
			}
			return ""
		}},
		{"Ready", func(ctx context.Context, c *Client) error { return c.Ready(ctx) }, said("ready")},
		{"Fail", func(ctx context.Context, c *Client) error { return c.Fail(ctx, "no") }, said("no")},
		{"CreateSession", session((*Client).CreateSession), func(m *manager) string {
			if len(m.sessions) != 2 {
				return fmt.Sprint("sessions: ", m.sessions)
			}
			return ""
		}},
		{"RetrieveSession", session(func(c *Client, ctx context.Context, _ string) (*os.File, error) {
			return c.RetrieveSession(ctx, "old")
		}), ok},
		{"ReleaseSession", func(ctx context.Context, c *Client) error { return c.ReleaseSession(ctx, "old") }, func(m *manager) string {
			if len(m.sessions) != 0 {
				return fmt.Sprint("sessions: ", m.sessions)
			}
			return ""
		}},
	} {
		for _, how := range []struct {
			name    string
			trouble []trouble
		}{
			{"before", []trouble{{}}},
			{"after", []trouble{{late: true}}},
			{"twice", []trouble{{}, {late: true}}},
			{"stopping", []trouble{{name: errorname.Prefix + "Stopping"}}},
			{"not started", []trouble{{name: "org.freedesktop.systemd1.ShuttingDown"}, {name: "org.freedesktop.DBus.Error.Spawn.ChildExited"}, {name: "org.freedesktop.DBus.Error.TimedOut"}}},
		} {
			if how.trouble[0].name != "" && one.method != "Preserve" && one.method != "Retrieve" {
				continue // the same for all
			}
			t.Run(one.method+" "+how.name, func(t *testing.T) {
				t.Parallel()
				c, m := connectQuietly(t)
				ctx := within(t)
				if err := c.Preserve(ctx, names[:2], files[:2]); err != nil {
					t.Fatal(err)
				}
				m.with(func() {
					m.sessions["old"], m.registered = true, 1
					m.trouble[one.method] = how.trouble
				})
				if err := one.call(ctx, c); err != nil {
					t.Fatal(err)
				}
				m.with(func() {
					if wrong := one.good(m); wrong != "" {
						t.Error(wrong)
					}
					if len(m.trouble[one.method]) != 0 {
						t.Error("there was no trouble")
					}
				})
			})
		}
	}
}

func retrieveTwo(ctx context.Context, c *Client) error {
	files, err := c.Retrieve(ctx)
	for _, f := range files {
		f.Close()
	}
	if err == nil && len(files) != 2 {
		err = fmt.Errorf("got %d files", len(files))
	}
	return err
}

func session(get func(*Client, context.Context, string) (*os.File, error)) func(context.Context, *Client) error {
	return func(ctx context.Context, c *Client) error {
		f, err := get(c, ctx, "new")
		if err == nil {
			f.Close()
		}
		return err
	}
}

// A luod that is killed while it releases has released some.
func TestAReleaseInTheMiddleIsFinished(t *testing.T) {
	c, m := connect(t)
	names, files := memfds(t, 4)
	if err := c.Preserve(within(t), names, files); err != nil {
		t.Fatal(err)
	}
	m.with(func() { m.trouble["Release"] = []trouble{{partly: true}, {}} })
	if err := c.Release(within(t), names[:3]); err != nil {
		t.Fatal(err)
	}
	m.with(func() {
		if !slices.Equal(m.names, names[3:]) {
			t.Errorf("held: %v", m.names)
		}
	})
	// Without trouble a name that isn't there is an error as ever.
	if err := c.Release(within(t), []string{names[3], "nothing"}); !refusedAs(err, "NoSuchName") {
		t.Errorf("got %v", err)
	}
}
