#!/usr/bin/python3
# A service that keeps two memfds of one name in systemd's fd store, and knows
# nothing else. What it finds in them goes into a file, in their order.
import os, signal, socket, sys


def notify(text, fds=[]):
    path = os.environ["NOTIFY_SOCKET"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.connect("\0" + path[1:] if path[0] == "@" else path)
        socket.send_fds(s, [text.encode()], fds)


fds = [3 + i for i in range(int(os.environ.get("LISTEN_FDS", "0")))]
if not fds:
    for i in range(2):
        fds.insert(0, os.memfd_create("table"))
        os.write(fds[0], b"python %d %s" % (i, os.urandom(8).hex().encode()))
        notify("FDSTORE=1\nFDNAME=table", fds[:1])
with open(sys.argv[1], "w") as f:
    f.write(" ".join(os.pread(fd, 100, 0).decode() for fd in fds) + "\n")
notify("READY=1")
signal.signal(signal.SIGTERM, lambda *a: sys.exit(0))
while True:
    signal.pause()
