package systemdtest

import (
	"testing"

	"github.com/liveupdate/luod/luo/luofake"
	"github.com/liveupdate/luod/vmtest/lab"
)

// TestAnUpdateWithoutAMachine has a service's memory come through two updates, in a real shutdown by a real PID 1.
func TestAnUpdateWithoutAMachine(t *testing.T) {
	each(t, func(t *testing.T, suite lab.Suite) {
		l := BootLuod(t, Options{Suite: suite, Wants: []string{"memory.service"}, Units: map[string]string{"memory.service": `[Unit]
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
				l = l.Jump("luoctl live-update")
			}
		}
	})
}
