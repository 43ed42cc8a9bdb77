#!/bin/bash
# A service in shell. Its memfd comes on descriptor 3: from systemd's fd store, or
# empty at the first start from the wrapper that a shell needs for that.
if [ "${LISTEN_FDS:-0}" = 0 ]; then
    echo "shell $RANDOM$RANDOM$RANDOM" >&3
    systemd-notify --fd=3 --fdname=state || exit 1
fi
cat /proc/self/fd/3 > "$1"
systemd-notify --ready
exec sleep infinity
