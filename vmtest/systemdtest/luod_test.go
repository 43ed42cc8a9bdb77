package systemdtest

import (
	"strings"
	"testing"

	"github.com/liveupdate/luod/luo/luofake"
	"github.com/liveupdate/luod/vmtest/lab"
)

// survivors writes into the log who lives at the jump.
const survivors = `for process in /proc/[0-9]*; do
	read -r name <$process/comm
	echo "<30>survivor $name" >/dev/kmsg
done
`

// TestAnUpdateWithoutAMachine has a service's memory come through two updates, in a real shutdown by a real PID 1.
func TestAnUpdateWithoutAMachine(t *testing.T) {
	each(t, func(t *testing.T, suite lab.Suite) {
		l := BootLuod(t, Options{Suite: suite, Files: []lab.File{LastSecond(survivors)}, Wants: []string{"memory.service"}, Units: map[string]string{"memory.service": `[Unit]
Wants=luod.service
After=luod.service
[Service]
NotifyAccess=exec
FileDescriptorStoreMax=8
ExecStartPre=+/usr/lib/luod/luod-reissue --memfd=table:4096
ExecStart=/bin/sh -ec 'tr -d "\\000" </proc/self/fd/3 >/run/read; printf "%%s." "$(cat /run/read)" | dd of=/proc/self/fd/3 conv=notrunc status=none; touch /run/done; exec sleep infinity'
`}}, luofake.New())
		for _, want := range []string{"", ".", ".."} {
			if got := l.Do("while [ ! -e /run/done ]; do sleep 0.05; done; cat /run/read"); got != want {
				t.Fatalf("the service has read %q, want %q:\n%s", got, want, l.Do("luoctl status"))
			}
			if want != ".." {
				l.Do("luoctl load /boot/vmlinuz")
				before := l
				l = l.Jump("luoctl live-update")
				if got := before.log.tail(50); !strings.Contains(got, "survivor luod\n") {
					t.Errorf("luod did not live to the jump, but these did:\n%s", got)
				}
			}
		}
	})
}
