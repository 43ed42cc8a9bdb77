package recreation

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/hooks/internal/beneath"
	"github.com/liveupdate/luod/internal/recipe"
)

// other is a user that nobody is.
const other = 65533

// hers makes a directory of another user's, with one named run in it, and one of root's
// that nothing may be made in.
func hers(t *testing.T) (dir, victim string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, as the gate has")
	}
	outer := t.TempDir()
	dir, victim = outer+"/hers", outer+"/victim"
	err := errors.Join(os.MkdirAll(dir+"/run", 0o755), os.Lchown(dir, other, other), os.Lchown(dir+"/run", other, other), os.Mkdir(victim, 0o755),
		os.Chmod(outer, 0o755), os.Chmod(filepath.Dir(outer), 0o755))
	if err != nil {
		t.Fatal(err)
	}
	return dir, victim
}

func listener(path string, uid uint32) recipe.Recipe {
	return recipe.Recipe{Version: recipe.Version, Socket: &recipe.Socket{Family: unix.AF_UNIX, Type: unix.SOCK_STREAM, Path: path, Mode: 0o660, UID: uid, GID: uid, Backlog: 5}}
}

// What a socket's owner puts in the way leads root nowhere.
func TestASocketIsMadeNowhereElse(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(dir, victim string) error
		// races says that the directory and the link are swapped all the time.
		races bool
		fails error
	}{
		"a link is there": {func(dir, victim string) error {
			return errors.Join(os.Remove(dir+"/run"), os.Symlink(victim, dir+"/run"))
		}, false, beneath.ErrLink},
		"a link comes": {func(dir, victim string) error { return os.Symlink(victim, dir+"/link") }, true, nil},
	} {
		t.Run(name, func(t *testing.T) {
			dir, victim := hers(t)
			if err := c.prepare(dir, victim); err != nil {
				t.Fatal(err)
			}
			// One of root's that nobody has any more.
			dead, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err == nil {
				err = unix.Bind(dead, &unix.SockaddrUnix{Name: victim + "/s"})
			}
			if err != nil {
				t.Fatal(err)
			}
			unix.Close(dead)
			var was unix.Stat_t
			if err := unix.Lstat(victim+"/s", &was); err != nil {
				t.Fatal(err)
			}
			stop, done := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(done)
				for c.races {
					select {
					case <-stop:
						return
					default:
						_ = unix.Renameat2(unix.AT_FDCWD, dir+"/run", unix.AT_FDCWD, dir+"/link", unix.RENAME_EXCHANGE)
					}
				}
			}()
			good := 0
			for began := time.Now(); time.Since(began) < 500*time.Millisecond; {
				for _, name := range []string{"/run/s", "/run/fresh"} {
					f, err := here.Make(listener(dir+name, other))
					if err == nil {
						good++
						f.Close()
					} else if c.fails != nil && !errors.Is(err, c.fails) {
						t.Errorf("%s: %v", name, err)
					}
				}
				if !c.races {
					break
				}
			}
			close(stop)
			<-done
			t.Logf("made %d times", good)
			var now unix.Stat_t
			if err := unix.Lstat(victim+"/s", &now); err != nil || now.Ino != was.Ino || now.Uid != 0 {
				t.Errorf("root's socket was inode %d and is %d, of user %d (%v)", was.Ino, now.Ino, now.Uid, err)
			}
			if entries, err := os.ReadDir(victim); err != nil || len(entries) != 1 {
				t.Errorf("there is %v (%v)", entries, err)
			}
		})
	}
}

// Below a directory of another user only that user's sockets come back, and they do.
func TestSocketsBelowSomebodysDirectory(t *testing.T) {
	dir, _ := hers(t)
	path := dir + "/run/s"
	f, err := here.Make(listener(path, other))
	if err != nil {
		t.Fatal(err)
	}
	d := described(t, f)
	converse(t, f, d.Socket)
	f.Close()
	if d.Socket.UID != other || d.Socket.GID != other || d.Socket.Mode != 0o660 {
		t.Errorf("it is %+v", d.Socket)
	}
	before := openFDs(t)
	again, err := here.Make(d) // over the dead one's file
	if err != nil {
		t.Fatal(err)
	}
	if now := described(t, again); now.Socket.UID != other || now.Socket.Mode != 0o660 {
		t.Errorf("it is %+v", now.Socket)
	}
	for name, c := range map[string]struct {
		uid uint32
		why string
	}{"root's": {0, "belongs to root"}, "one that its owner can't make": {other + 1, "could not make it anew"}, "the owner's": {other, ""}} {
		if err := os.Lchown(path, int(c.uid), int(c.uid)); err != nil {
			t.Fatal(err)
		}
		_, err := here.Describe(again)
		if (err == nil) != (c.why == "") || err != nil && !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: %v", name, err)
		}
	}
	again.Close()
	if _, err := here.Make(listener(path, 0)); !errors.Is(err, errRoots) {
		t.Errorf("root's is made: %v", err)
	}
	if after := openFDs(t); after != before {
		t.Errorf("%d file descriptors before, %d after", before, after)
	}
}
