package systemdtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/vmtest/lab"
	"github.com/liveupdate/luod/vmtest/systemdtest/rules"
)

// real is a system with the rules' units.
type real struct {
	*System
	version int
}

func newReal(t testing.TB, suite lab.Suite) *real {
	t.Helper()
	units := map[string]string{}
	for _, u := range rules.Units() {
		units[u.Name] = u.Text()
	}
	s := Boot(t, Options{Suite: suite, Units: units, Files: []lab.File{Program(t, "github.com/liveupdate/luod/vmtest/guest/storer")}})
	version, err := strconv.Atoi(strings.Fields(s.Do("systemctl --version"))[1])
	if err != nil {
		t.Fatal(err)
	}
	return &real{s, version}
}

// patience bounds each step.
const patience = 20 * time.Second

func (r *real) Version() int { return r.version }

func (r *real) Define(u rules.Unit) error { return write(r.Root(), unitFile(u.Name, u.Text())) }

func (r *real) Do(verb string, units ...string) error {
	if verb == "daemon-reexec" { // it hangs up on us
		res, err := r.Run("systemctl daemon-reexec")
		if err == nil && res.Code != 0 {
			err = fmt.Errorf("systemctl daemon-reexec: %s", res.Stderr)
		}
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := r.Manager(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	switch verb {
	case "daemon-reload":
		return conn.ReloadContext(ctx)
	case "reset-failed":
		for _, u := range units {
			err = errors.Join(err, conn.ResetFailedUnitContext(ctx, u))
		}
		return err
	case "start":
		err = jobs(ctx, conn.StartUnitContext, units)
	case "stop":
		err = jobs(ctx, conn.StopUnitContext, units)
	case "restart":
		err = jobs(ctx, conn.RestartUnitContext, units)
	default:
		err = fmt.Errorf("do %s: unknown verb", verb)
	}
	if err != nil {
		return err
	}
	// Those of others that follow from it may take longer.
	for {
		left, err := conn.ListJobsContext(ctx)
		if err != nil || len(left) == 0 {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// jobs waits for a job of each unit, however it ends.
func jobs(ctx context.Context, queue func(ctx context.Context, unit, mode string, result chan<- string) (int, error), units []string) error {
	results := make(chan string, len(units))
	for _, u := range units {
		if _, err := queue(ctx, u, "replace", results); err != nil {
			return err
		}
	}
	for range units {
		select {
		case <-results:
		case <-ctx.Done():
			return fmt.Errorf("wait for the jobs of %s: %w", strings.Join(units, ", "), ctx.Err())
		}
	}
	return nil
}

func (r *real) Tell(unit string, o rules.Order) (a rules.Answer, err error) {
	c, err := net.DialTimeout("unix", filepath.Join(r.Root(), "run/storer", unit), patience)
	if err != nil {
		return a, fmt.Errorf("tell %s something: %w", unit, err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return a, err
	}
	if err := json.NewEncoder(c).Encode(o); err != nil {
		return a, fmt.Errorf("tell %s something: %w", unit, err)
	}
	if err := json.NewDecoder(c).Decode(&a); err != nil {
		return a, fmt.Errorf("hear of %s: %w", unit, err)
	}
	return a, nil
}

func (r *real) Look(unit string) (v rules.View, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := r.Manager(ctx)
	if err != nil {
		return v, err
	}
	defer conn.Close()
	// The list has what PID 1 has in memory; to ask for a unit's properties loads it.
	list, err := conn.ListUnitsByPatternsContext(ctx, nil, []string{unit})
	if err != nil {
		return v, err
	}
	v.Loaded = len(list) == 1
	for property, to := range map[string]*string{"ActiveState": &v.Active, "SubState": &v.Sub} {
		if *to, err = text(ctx, conn, unit, property); err != nil {
			return v, err
		}
	}
	id, err := conn.GetUnitPropertyContext(ctx, unit, "InvocationID")
	if err != nil {
		return v, err
	}
	v.InvocationID = id.Value.String()
	v.Store, err = r.dump(ctx, unit)
	return v, err
}

func text(ctx context.Context, conn *dbus.Conn, unit, property string) (string, error) {
	p, err := conn.GetUnitPropertyContext(ctx, unit, property)
	if err != nil {
		return "", err
	}
	value, _ := p.Value.Value().(string)
	return value, nil
}

// PID 1's errors where FileDescriptorStoreMax= is 0, and where it has forgotten the unit again.
const (
	disabled  = "org.freedesktop.systemd1.FileDescriptorStoreDisabled"
	notLoaded = "org.freedesktop.systemd1.NoSuchUnit"
)

func (r *real) dump(ctx context.Context, unit string) (list []rules.Entry, err error) {
	if strings.HasSuffix(unit, ".target") {
		return nil, nil
	}
	conn, err := r.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	var entries []struct {
		Name                     string
		Mode, Major, Minor       uint32
		Inode                    uint64
		DeviceMajor, DeviceMinor uint32
		Path                     string
		Flags                    uint32
	}
	err = conn.Object("org.freedesktop.systemd1", "/org/freedesktop/systemd1").
		CallWithContext(ctx, "org.freedesktop.systemd1.Manager.DumpUnitFileDescriptorStore", 0, unit).Store(&entries)
	var answer godbus.Error
	if errors.As(err, &answer) && (answer.Name == disabled || answer.Name == notLoaded) {
		return nil, nil
	}
	for _, e := range entries {
		list = append(list, rules.Entry{Name: e.Name, Inode: e.Inode, ReadOnly: e.Flags&unix.O_ACCMODE == unix.O_RDONLY})
	}
	return list, err
}

// Noted reads the log, which outlives the system.
func (r *real) Noted(unit string) (entries []rules.Entry, err error) {
	log, begin := r.log.tail(1000), "storer-noted "+unit+" "
	i := strings.LastIndex(log, begin)
	if i < 0 {
		return nil, fmt.Errorf("%s has noted nothing", unit)
	}
	line, _, _ := strings.Cut(log[i+len(begin):], "\n")
	return entries, json.Unmarshal([]byte(line), &entries)
}

func (r *real) Shutdown() error {
	r.System.Shutdown("poweroff")
	return nil
}

func (r *real) SoftReboot() error {
	r.System.SoftReboot()
	return nil
}
