package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

func TestStatusAsPeopleReadIt(t *testing.T) {
	for name, s := range map[string]status{
		"fresh": {Phase: "idle", Kernel: "7.2.13"},
		"loaded": {
			Phase: "idle", Kernel: "7.2.13", LoadedKernel: "/boot/vmlinuz-7.3.4", LoadedRelease: "7.3.4", LoadedInitrds: []string{"/boot/initrd.img-7.3.4"},
			LoadedCommand: "root=/dev/vda kho=on liveupdate=on luod.generation=1", Units: 1, FileDescriptors: 1, Bytes: 1000,
		},
		"restoring": {
			Phase: "restoring", Generation: 2, Kernel: "7.3.4", OldKernel: "7.2.13", Units: 3, FileDescriptors: 20, Bytes: 105 << 20,
			Waiting: []string{"a.service", "b.service"}, Lost: []loss{{"c.service", "table", "its size changed"}},
			TimeLine: []mark{{"trigger", 1_000_000}, {"packed", 1_120_000}, {"kernel started", 4_500_000}},
		},
		"degraded": {
			Phase: "idle", Generation: 1, Kernel: "7.3.4", Degraded: "the manifest is damaged", Unsupported: "no device",
			Warning: "something is odd", LastError: "it did not work",
		},
	} {
		var out bytes.Buffer
		printStatus(&out, s, false)
		golden(t, name, out.Bytes())
	}
	var out bytes.Buffer
	printStatus(&out, status{Phase: "idle", Degraded: "x"}, true)
	if !strings.Contains(out.String(), "\x1b[31;1mdegraded\x1b[0m") {
		t.Errorf("no colour: %q", out.String())
	}
}

func TestListAsPeopleReadIt(t *testing.T) {
	var out bytes.Buffer
	if err := printList(&out, []held{
		{"a.service", "table", 1 << 20, 0, "held"}, {"a.service", "index", 1, 0xf, "waiting"}, {"long-name.service", "x", 0, 0x10, "fetched"},
		{"s.service", "store:0:table", 4096, 0, "waiting"}, {"s.service", "recreate:1:listen", 0, 0, "waiting"}, {"s.service", "same:2:table", 0, 0, "waiting"},
	}); err != nil {
		t.Fatal(err)
	}
	golden(t, "list", out.Bytes())
	out.Reset()
	if err := printList(&out, nil); err != nil {
		t.Fatal(err)
	}
	golden(t, "list-empty", out.Bytes())
}

func TestSize(t *testing.T) {
	for n, want := range map[uint64]string{0: "0B", 1023: "1023B", 1024: "1.0K", 1536: "1.5K", 1 << 20: "1.0M", 1 << 40: "1.0T", ^uint64(0): "16.0E"} {
		if got := size(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

func TestEveryVerbHasHelpAndRefusesWhatItDoesNotKnow(t *testing.T) {
	for _, verb := range []string{"status", "list", "load", "unload", "live-update"} {
		cmd := root()
		var out bytes.Buffer
		cmd.SetOut(&out)
		cmd.SetArgs([]string{verb, "--help"})
		if err := cmd.Execute(); err != nil || !strings.Contains(out.String(), "Usage:") {
			t.Errorf("%s --help: %v, %q", verb, err, out.String())
		}
		cmd = root()
		cmd.SetArgs([]string{verb, "--explode"})
		if err := cmd.Execute(); err == nil {
			t.Errorf("%s --explode was taken", verb)
		}
	}
	for _, args := range [][]string{{"explode"}, {"load"}, {"load", "a", "b"}, {"live-update", "x"}, {"status", "x"}} {
		cmd := root()
		cmd.SetArgs(args)
		if err := cmd.Execute(); err == nil {
			t.Errorf("%q was taken", args)
		}
	}
}
