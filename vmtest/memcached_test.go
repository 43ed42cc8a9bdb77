package vmtest

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/liveupdate/luod/vmtest/lab"
	"github.com/liveupdate/luod/vmtest/machine"
)

// Debian's memcached, which writes its memory into a file on a tmpfs when it is
// stopped and reads it at its start (-e), keeps 100,000 keys over two updates.
func TestMemcachedKeepsItsKeys(t *testing.T) {
	repeats(t)
	parts := partsFor(t)
	r, err := parts.StartWith(t.Context(), lab.Trixie, machine.Config{
		Name: t.Name(), Kernel: parts.Older, ConsoleLog: filepath.Join(t.ArtifactDir(), "console.log"),
	}, "memcached")
	check(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the console's end:\n%s", r.ConsoleTail(60))
		}
		r.Close()
	})
	r.Sh(t, `echo 'd /run/warm 0750 memcache memcache' > /etc/tmpfiles.d/warm.conf; systemd-tmpfiles --create warm.conf
echo '-e /run/warm/memory' >> /etc/memcached.conf
mkdir -p /etc/systemd/system/memcached.service.d; printf '[Service]\nKillSignal=SIGUSR1\n' > /etc/systemd/system/memcached.service.d/20-graceful.conf
luoctl enable memcached --directory=/run/warm
systemctl restart memcached
for i in $(seq 50); do /usr/lib/luod-lab/poke --memcached-fill 1 2>/dev/null && break; sleep 0.2; done
/usr/lib/luod-lab/poke --memcached-fill 100000`)
	for _, kernel := range through(parts.Newer, parts.Older) {
		check(t, r.Update(t.Context(), kernel))
		r.Sh(t, "for i in $(seq 50); do systemctl is-active -q memcached && break; sleep 0.2; done; for i in $(seq 50); do /usr/lib/luod-lab/poke --memcached-check 1 >/dev/null 2>&1 && break; sleep 0.2; done")
		if text := r.Sh(t, "/usr/lib/luod-lab/poke --memcached-check 100000"); strings.TrimSpace(text) != "100000 keys" {
			t.Fatalf("memcached has %q", text)
		}
		if mode := strings.TrimSpace(r.Sh(t, "stat -c '%U %a' /run/warm /run/warm/memory | tr '\n' ' '")); !strings.HasPrefix(mode, "memcache 750 memcache ") {
			t.Errorf("owner and mode are %q", mode)
		}
	}
}
