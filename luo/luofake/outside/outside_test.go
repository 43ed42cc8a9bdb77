package outside_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/luo"
	"github.com/liveupdate/luod/luo/luofake"
	"github.com/liveupdate/luod/luo/luofake/outside"
)

func serve(t *testing.T, k *luofake.Kernel) (*outside.Server, outside.Driver) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "luo")
	s, err := outside.Serve(path, k)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s, outside.Driver(path)
}

func TestASessionComesThroughAJump(t *testing.T) {
	ctx := context.Background()
	first := luofake.New()
	server, driver := serve(t, first)
	kernel := luo.NewWithDriver(driver)
	device, err := kernel.Open(ctx)
	if err != nil {
		t.Fatal(err)
	}
	session, err := device.CreateSession("s")
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.MemfdCreate("t", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "memfd")
	defer f.Close()
	if _, err := f.WriteString("remembered"); err != nil {
		t.Fatal(err)
	}
	if err := session.PreserveFD(f, 7); err != nil {
		t.Fatal(err)
	}
	if err := driver.Jump("generation=1"); err != nil {
		t.Fatal(err)
	}
	session.Close()
	device.Close()
	next, line := server.Next()
	if next == nil || line != "generation=1" {
		t.Fatalf("it jumped into %v with %q", next, line)
	}
	_, driver = serve(t, next)
	if device, err = luo.NewWithDriver(driver).Open(ctx); err != nil {
		t.Fatal(err)
	}
	defer device.Close()
	if session, err = device.RetrieveSession("s"); err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	back, err := session.RetrieveFD(7)
	if err != nil {
		t.Fatal(err)
	}
	defer back.Close()
	text := make([]byte, 20)
	if n, _ := back.ReadAt(text, 0); string(text[:n]) != "remembered" {
		t.Errorf("it has %q", text[:n])
	}
	if err := session.Finish(); err != nil {
		t.Error(err)
	}
}
