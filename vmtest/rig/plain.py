#!/usr/bin/python3
# A service that knows nothing of luod: it finds its memory as $LISTEN_FDS. At
# its first start the memory is empty and it fills it; later it only reads.
import hashlib, os, signal, sys, time

names = os.environ.get("LISTEN_FDNAMES", "").split(":")
fds = int(os.environ.get("LISTEN_FDS", "0"))
if fds == 0 or os.environ.get("LISTEN_PID") != str(os.getpid()):
    sys.exit("plain: no memory was passed to me")
report = sys.argv[1]
facts = []
for i, name in enumerate(names):
    fd = 3 + i
    size = os.fstat(fd).st_size
    data = os.pread(fd, size, 0)
    fresh = data == bytes(size)
    if fresh:
        data = os.urandom(size)
        os.pwrite(fd, data, 0)
    facts.append('"%s":{"sha256":"%s","size":%d,"expected":true,"fresh":%s}' % (
        name, hashlib.sha256(data).hexdigest(), size, "true" if fresh else "false"))
os.makedirs(os.path.dirname(report), exist_ok=True)
with open(report + ".new", "w") as f:
    f.write('{"unit":"plain.service","fresh":%s,"kernel":"%s","files":{%s},"readUsec":%d}' % (
        "true" if '"fresh":true' in facts[0] else "false", os.uname().release, ",".join(facts), time.time_ns() // 1000))
os.rename(report + ".new", report)
signal.signal(signal.SIGTERM, lambda *a: sys.exit(0))
while True:
    signal.pause()
