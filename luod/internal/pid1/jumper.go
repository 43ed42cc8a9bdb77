package pid1

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/coreos/go-systemd/v22/dbus"
	"github.com/liveupdate/luod/luod/internal/logind"
)

// Jumper is the real thing; the zero value works.
type Jumper struct{ Logind logind.Logind }

// carriesStores is the first systemd that carries fd stores over a kexec itself
// (src/core/luo.c), sessions in luod's own store included.
const carriesStores = 261

// Check says why luod, or what others hold, would not live until the jump.
func (Jumper) Check(ctx context.Context, fast bool) error {
	return connected(ctx, func(conn *dbus.Conn) error {
		text, err := managerProperty(ctx, conn, "Version")
		if err != nil {
			return fmt.Errorf("ask PID 1 for its version: %w", err)
		}
		if fast {
			return fastCheck(ctx, conn, text)
		}
		argv, err := os.ReadFile("/proc/self/cmdline")
		if err != nil {
			return fmt.Errorf("read luod's own command line: %w", err)
		}
		carries := majorVersion(text) >= carriesStores
		e, err := lookAhead(ctx, conn, carries)
		if err != nil {
			return err
		}
		return survives(string(argv), carries, e)
	})
}

// lookAhead finds out how an orderly update would end.
func lookAhead(ctx context.Context, conn *dbus.Conn, carries bool) (ending, error) {
	states, err := fillerStates(ctx, conn)
	if err != nil {
		return ending{}, err
	}
	e := ending{kexec: hasKexec("/") || hasKexec(exitrd)}
	if e.exit, err = findExit("/", states); err != nil {
		return e, err
	}
	if e.exit == foreign && carries {
		e.losers, err = carried(ctx, conn)
	}
	return e, err
}

// survives decides. systemd-shutdown spares a process of root whose argv[0] begins
// with '@' (src/shutdown/…, killall.c: ignore_proc).
func survives(argv string, carries bool, e ending) error {
	if !carries && !strings.HasPrefix(argv, "@") {
		return errors.New("luod was not started as luod.service starts it (its argv[0] does not begin with '@'), so the shutdown would kill it before the jump and all memory with it; start it with 'systemctl start luod.service'")
	}
	return e.refusal(carries)
}

// majorVersion reads "257.13-1~deb13u1", with or without quotes.
func majorVersion(text string) int {
	text = strings.Trim(text, `"`)
	end := strings.IndexFunc(text, func(r rune) bool { return r < '0' || r > '9' })
	if end >= 0 {
		text = text[:end]
	}
	n, _ := strconv.Atoi(text)
	return n
}

// Way is how a jump is made.
type Way string

// The ways: by logind, which tells those who delay a shutdown; by PID 1 alone; or
// at once, by luod-jump.service.
const (
	ByLogind Way = "logind"
	Direct   Way = "direct"
	Fast     Way = "fast"
)

// Jump starts what ends this boot. The channel gets an error if it does not end
// after all, [ErrHungUp] if nobody can tell any more whether it does, and nothing or nil
// when it does.
func (j Jumper) Jump(ctx context.Context, way Way) (<-chan error, error) {
	switch way {
	case Fast:
		return jumpFast(ctx)
	case ByLogind:
		problems, err := j.jumpByLogind(ctx)
		if !errors.Is(err, logind.ErrNone) {
			return problems, err
		}
	}
	results, err := trigger(ctx)
	if err != nil {
		return nil, err
	}
	problems := make(chan error, 1)
	go func() {
		defer close(problems)
		problems <- refusedJob(results)
	}()
	return problems, nil
}

func jumpFast(ctx context.Context) (<-chan error, error) {
	// It ends with this boot.
	release := manager.hold()
	conn, done, err := manager.get(ctx)
	if err != nil {
		release()
		return nil, fmt.Errorf("connect to PID 1: %w", err)
	}
	results := make(chan string, 1)
	if _, err := conn.StartUnitContext(ctx, jumpUnit, "replace", results); err != nil {
		done()
		release()
		return nil, fmt.Errorf("start %s: %w", jumpUnit, err)
	}
	problems := make(chan error, 1)
	go func() {
		defer close(problems)
		defer release()
		defer done()
		ctx := context.WithoutCancel(ctx)
		result, err := await(ctx, conn, results)
		if err == nil {
			if err = outcome(ctx, conn, jumpUnit, result); err == nil {
				err = fmt.Errorf("%s ended without a jump", jumpUnit)
			}
		}
		problems <- err
	}()
	return problems, nil
}

// Jumping says whether this boot is about to end.
func (j Jumper) Jumping(ctx context.Context) (bool, error) {
	queued, err := jobQueued(ctx)
	if queued || err != nil {
		return queued, err
	}
	return j.Logind.Preparing(ctx)
}
