#!/usr/bin/python3
# A service that keeps more than memfds in systemd's fd store, and knows nothing
# else: two memfds, one of them twice, a log file, and a TCP and a unix socket. What
# it finds of each goes into a file, in their order. It answers whoever connects, and
# notes that in the log, as well as its end.
import fcntl, os, select, signal, socket, stat, sys

LOG, PORT = "/var/log/recreate.log", 7007
CONTROL = "/run/recreate.sock"


def notify(text, fds=[]):
    path = os.environ["NOTIFY_SOCKET"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.connect("\0" + path[1:] if path[0] == "@" else path)
        socket.send_fds(s, [text.encode()], fds)


def make():
    """Returns (name, fd) in the order in which PID 1 passes them on."""
    table, index = os.memfd_create("table"), os.memfd_create("index")
    for i, fd in enumerate((table, index)):
        os.write(fd, b"memory %d %s" % (i, os.urandom(8).hex().encode()))
    log = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.write(log, b"begin\n")
    reader = os.open("/proc/self/fd/%d" % table, os.O_RDONLY)
    os.lseek(reader, 3, os.SEEK_SET)
    tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    tcp.bind(("127.0.0.1", PORT))
    tcp.listen(17)
    unix = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    unix.bind(CONTROL)
    os.chmod(CONTROL, 0o620)
    os.chown(CONTROL, 0, 12)
    unix.listen(9)
    unix.setblocking(False)
    made = [("table", table), ("log", log), ("index", index), ("listen", tcp.detach()), ("table", reader), ("listen", unix.detach())]
    for name, fd in made:
        notify("FDSTORE=1\nFDNAME=" + name, [fd])
    return made[::-1]


def describe(name, fd):
    flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    text = "%s %s" % (name, ["r", "w", "rw"][flags & os.O_ACCMODE])
    st = os.fstat(fd)
    if stat.S_ISSOCK(st.st_mode):
        with socket.socket(fileno=os.dup(fd)) as s:
            text += " %s blocking=%d" % (s.getsockname(), not flags & os.O_NONBLOCK)
            text += " listens=%d" % s.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            if s.family == socket.AF_UNIX:
                st = os.stat(CONTROL)
                return text + " %o %d:%d" % (st.st_mode, st.st_uid, st.st_gid)
            return text + " reuse=%d backlog=%d" % (s.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR), s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)[28])
    at = os.lseek(fd, 0, os.SEEK_CUR)
    if st.st_nlink:
        return text + " %s inode=%d at its end=%d" % (os.readlink("/proc/self/fd/%d" % fd), st.st_ino, at == st.st_size)
    return text + " at=%d %s" % (at, os.pread(fd, 100, 0).decode())


count = int(os.environ.get("LISTEN_FDS", "0"))
entries = list(zip(os.environ.get("LISTEN_FDNAMES", "").split(":"), range(3, 3 + count)))
if not entries:
    entries = make()
with open(sys.argv[1], "w") as f:
    for name, fd in entries:
        f.write(describe(name, fd) + "\n")
log = [fd for name, fd in entries if name == "log"][0]
listeners = [socket.socket(fileno=fd) for name, fd in entries if name == "listen"]


def end(*_):
    os.write(log, b"end\n")
    sys.exit(0)


signal.signal(signal.SIGTERM, end)
notify("READY=1")
while True:
    for s in select.select(listeners, [], [])[0]:
        peer, _ = s.accept()
        os.write(log, b"connection\n")
        peer.sendall(b"hello from %d\n" % os.getpid())
        peer.close()
