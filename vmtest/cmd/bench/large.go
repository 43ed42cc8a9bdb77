package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/liveupdate/luod/vmtest/lab"
	"github.com/liveupdate/luod/vmtest/machine"
	"github.com/liveupdate/luod/vmtest/rig"
)

// maxRSS is what luod's memory may take at most, in KiB, however large the memory is
// that it carries.
const maxRSS = 15 << 10

// holder has 4 GiB of memory in its fd store, and a hook notes luod's peak when all
// is packed.
const holder = `cat > /etc/systemd/system/large.service <<'END'
[Unit]
Description=4 GiB in the File Descriptor Store
[Service]
ExecStartPre=+/usr/lib/luod/luod-reissue --optional --memfd=large:4G
ExecStart=sleep infinity
NotifyAccess=all
FileDescriptorStoreMax=8
[Install]
WantedBy=multi-user.target
END
mkdir -p /etc/luod/hooks.d
printf '#!/bin/sh\n[ "$1" != commit ] || awk "/VmHWM/{print \\$2}" /proc/$(systemctl show -P MainPID luod)/status > /var/lib/peak\n' > /etc/luod/hooks.d/50-peak
chmod 755 /etc/luod/hooks.d/50-peak
systemctl daemon-reload; luoctl enable large >/dev/null; systemctl enable -q --now large
head -c 4G /dev/zero | tr '\0' x | dd of=/proc/$(systemctl show -P MainPID large)/fd/3 bs=1M iflag=fullblock conv=notrunc status=none`

const content = `sha256sum < /proc/$(systemctl show -P MainPID large)/fd/3`

// large carries one memfd of 4 GiB, and tells luod's peak memory on both sides and
// how long the packing took.
func large(ctx context.Context, parts *rig.Parts) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Minute)
	defer cancel()
	r, err := parts.Start(ctx, lab.Trixie, machine.Config{Name: "bench-large", Kernel: parts.Older, MemoryMiB: 7 << 10})
	if err != nil {
		return err
	}
	defer r.Close()
	fmt.Fprintln(os.Stderr, "bench: filling 4 GiB (3 min)")
	if _, err := r.Do(ctx, holder); err != nil {
		return err
	}
	before, err := r.Do(ctx, content)
	if err != nil {
		return err
	}
	if err := r.Load(ctx, parts.Newer); err != nil {
		return err
	}
	if err := r.Jump(ctx, parts.Newer, "luoctl live-update"); err != nil {
		return err
	}
	after, err := r.Do(ctx, `for i in $(seq 600); do systemctl is-active -q large && break; sleep 0.1; done; `+content)
	if err != nil {
		return err
	}
	if after != before {
		return fmt.Errorf("4 GiB came back as %q and went as %q", after, before)
	}
	text, err := r.Do(ctx, `cat /var/lib/peak; awk '/VmHWM/{print $2}' /proc/$(systemctl show -P MainPID luod)/status; luoctl blame >&2`)
	if err != nil {
		return err
	}
	for i, side := range []string{"packing", "restoring"} {
		f := strings.Fields(text)
		if len(f) != 2 {
			return fmt.Errorf("luod's peak memory is %q", text)
		}
		peak, err := strconv.ParseFloat(f[i], 64)
		if err != nil {
			return fmt.Errorf("luod's peak memory is %q", text)
		}
		fmt.Printf("BENCH peak-rss-%s-4-gib-vs-bound-kib ours=%.0f baseline=%d ratio=%.2f goal=1.00\n", side, peak, maxRSS, peak/maxRSS)
	}
	return nil
}
