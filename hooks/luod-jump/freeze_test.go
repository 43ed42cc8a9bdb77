package main

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

const mounts = `21 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
22 21 0:21 / /proc rw,nosuid - proc proc rw
23 21 0:22 / /run rw,nosuid - tmpfs tmpfs rw
24 21 254:1 / /boot/efi rw,relatime - vfat /dev/vda1 rw
25 21 254:2 / /srv ro,relatime - xfs /dev/vdb rw
26 21 254:0 /var/lib/x /mnt rw,relatime - ext4 /dev/vda rw
27 21 254:3 / /media ro,relatime - iso9660 /dev/sr0 ro
28 21 0:40 / /home rw,relatime - nfs4 server:/home rw
29 25 7:0 / /srv/image rw,relatime - ext4 /dev/loop0 rw
30 21 0:50 / /data rw,relatime - btrfs /dev/vdc rw
31 21 0:51 / /user rw,nosuid - fuse.sshfs host: rw
32 21 0:52 / /over rw - overlay overlay rw,lowerdir=/a
`

func listed(t *testing.T) []filesystem {
	t.Helper()
	infos, err := mountinfo.GetMountsFromReader(strings.NewReader(mounts), nil)
	if err != nil {
		t.Fatal(err)
	}
	return toFreeze(infos)
}

func TestEachFileSystemOnceTheLastFirst(t *testing.T) {
	want := []filesystem{{"/over", false}, {"/data", true}, {"/srv/image", true}, {"/mnt", true}, {"/srv", false}, {"/boot/efi", true}}
	if got := listed(t); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

// disk is a kernel whose file systems know how they are.
type disk struct {
	state map[string]string
	fail  map[string]error
	log   []string
}

func (d *disk) do(verb, path, state string) error {
	if err := d.fail[verb+" "+path]; err != nil {
		return err
	}
	d.log = append(d.log, verb+" "+path)
	d.state[path] = state
	return nil
}

func (d *disk) Freeze(path string) error {
	if path == "/boot/efi" || path == "/over" {
		return unix.EOPNOTSUPP
	}
	return d.do("freeze", path, "frozen")
}

func (d *disk) Thaw(path string) error {
	if d.state[path] != "frozen" {
		return unix.EINVAL
	}
	return d.do("thaw", path, "")
}

func (d *disk) Remount(path string, readOnly bool) error {
	return d.do(fmt.Sprintf("remount-%v", readOnly), path, map[bool]string{true: "ro", false: ""}[readOnly])
}
func (d *disk) Flush(path string) error { return d.do("flush", path, d.state[path]) }

func TestWhatIsFrozenIsThawedInTheOppositeOrder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "frozen")
	d := &disk{state: map[string]string{}, fail: map[string]error{"freeze /srv": unix.EBUSY}}
	done, err := freeze(d, listed(t), path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatal("it was not noted: ", err)
	}
	if err := done.undo(d, path); err != nil {
		t.Fatal(err)
	}
	want := []string{"flush /over", "freeze /data", "freeze /srv/image", "freeze /mnt", "remount-true /boot/efi",
		"remount-false /boot/efi", "thaw /mnt", "thaw /srv/image", "thaw /data"}
	if !slices.Equal(d.log, want) {
		t.Errorf("got  %q\nwant %q", d.log, want)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("the note is still there")
	}
}

func TestAFailureStopsAndIsUndone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "frozen")
	d := &disk{state: map[string]string{}, fail: map[string]error{"freeze /mnt": unix.EIO}}
	done, err := freeze(d, listed(t), path)
	if err == nil || !strings.Contains(err.Error(), "freeze /mnt") {
		t.Fatal(err)
	}
	if err := done.undo(d, path); err != nil {
		t.Fatal(err)
	}
	for p, state := range d.state {
		if state != "" {
			t.Errorf("%s is %s", p, state)
		}
	}
}

func TestAnotherProcessUndoesWhatAKilledOneDid(t *testing.T) {
	path := filepath.Join(t.TempDir(), "frozen")
	d := &disk{state: map[string]string{}}
	if err := recoverFrozen(d, path); err != nil || len(d.log) > 0 {
		t.Fatal(err, d.log)
	}
	if _, err := freeze(d, listed(t), path); err != nil {
		t.Fatal(err)
	}
	if err := recoverFrozen(d, path); err != nil {
		t.Fatal(err)
	}
	for p, state := range d.state {
		if state != "" {
			t.Errorf("%s is %s", p, state)
		}
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := recoverFrozen(d, path); err == nil {
		t.Error("a spoilt note was taken")
	}
}

func TestItJumpsOnlyForLuod(t *testing.T) {
	path := filepath.Join(t.TempDir(), "record")
	for text, may := range map[string]bool{`{"phase":"committed"}`: true, `{"phase":"idle"}`: false, `{`: false, ``: false} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := committed(path); (err == nil) != may {
			t.Errorf("%q: %v", text, err)
		}
	}
	if committed(path+"-none") == nil {
		t.Error("it would jump without a record")
	}
}
