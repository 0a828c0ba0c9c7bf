#!/usr/bin/env python3
"""Real file systems that fail under the running node: full, turned read-only, gone, slow.

    sudo tests/proof/devices.py [--brink target/release/brink]

A tmpfs smaller than the limit of its directory (ENOSPC for real): what it holds must turn
over. The same one filled by somebody else: writes are shed and come back. An ext4 on a loop
device that is shut down under the node, as the kernel does after errors (EROFS on writes):
taken out, said in log, metrics and readiness, put back with a fresh file system in its place.
One that gives and takes 2 MB a second (Debian's bindfs): writes are shed, requests are not.
All the while every request is answered with 200 and the right bytes. Mounts in a namespace of
its own, which needs root; the only proof here that does.
"""

import argparse
import http.client
import http.server
import os
import random
import shutil
import signal
import socketserver
import subprocess
import sys
import tempfile
import threading
import time

from program import Node

BODY = 100_000
NOISE = random.Random(3).randbytes(BODY * 2)


def body(name):
    start = name * 7919 % BODY
    return NOISE[start:start + BODY]


class Origin(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        data = body(int(self.path.rsplit("/", 1)[1]))
        self.send_response(200)
        self.send_header("Cache-Control", "max-age=86400")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


class Threads(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True


def run(*command):
    subprocess.run(command, check=True)


def make(image, mount):
    """A new file system in a file, mounted."""
    with open(image, "wb") as out:
        out.truncate(160 << 20)
    run("mkfs.ext4", "-q", "-F", image)
    run("mount", "-o", "loop", image, mount)


class Asked(Node):
    """The program with one disk directory of 256 MiB at most, somewhere on a mount."""

    def __init__(self, brink, work, origin, store, memory, more):
        super().__init__(brink, work, origin, memory, "256MiB",
                         f'admit = "all"\nsegment = "4MiB"\n{more}', "confine = false", store)

    def ask(self, names):
        """Every answer is right; how many were hits."""
        wire, hits = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30), 0
        for name in names:
            wire.request("GET", f"/o/{name}", headers={"Host": "devices.test"})
            answer = wire.getresponse()
            data = answer.read()
            assert answer.status == 200 and data == body(name), (name, answer.status, len(data))
            hits += "; hit" in (answer.getheader("Cache-Status") or "")
        wire.close()
        return hits


def full(node, mount):
    node.ask(range(1_500))
    node.until("all is written", lambda: node.disk()["queued_bytes"] == 0)
    hits, old = node.ask(range(1_499, 1_299, -1)), node.ask(range(50))
    shed = node.count("writes_shed")
    assert hits > 150 and old < 10 and node.state() == "ready", (hits, old, node.disk())
    print(f"a device of 96 MiB under a limit of 256: 150 MB through it, hits among the newest "
          f"200 {hits}, among the oldest 50 {old}, {shed} writes shed")
    kept = node.disk()["records"]
    room = os.statvfs(mount)
    with open(f"{mount}/mine", "wb") as mine:
        os.posix_fallocate(mine.fileno(), 0, room.f_bavail * room.f_bsize)
    for turn in range(6):
        node.ask(range(2_000 + 100 * turn, 2_100 + 100 * turn))
        time.sleep(1.1)
    more, state = node.count("writes_shed") - shed, node.state()
    print(f"filled by somebody else: 600 answers, {more} writes shed, "
          f"{node.disk()['records']} of {kept} records kept, state {state}")
    assert state == "ready"
    os.unlink(f"{mount}/mine")
    written = node.count("written")
    time.sleep(1.1)
    node.ask(range(4_000, 4_200))
    node.until("writes resume", lambda: node.count("written") > written + 100)


def read_only(node, mount):
    node.ask(range(300))
    run("mount", "-o", "remount,abort", mount)
    name = iter(range(10_000, 1_000_000))
    node.until("it is out", lambda: node.ask([next(name) for _ in range(50)]) is not None
               and node.state() == "out")
    ready = node.admin("GET", "/readyz")
    metrics = [line for line in node.admin("GET", "/metrics")[1].splitlines()
               if line.startswith("brink_disk_up{")]
    said = [line for line in open(node.log) if "taken out" in line]
    print(f"turned read-only: {next(name) - 10_000} answers, then {ready[1].split(chr(10))[1]!r}, "
          f"{metrics[0].rsplit(' ', 1)[1]} in the metrics, said {len(said)} times in the log")
    assert ready[0] == 200 and metrics[0].endswith(" 0.0") and len(said) == 1
    held = lambda: [one for one in os.listdir(f"/proc/{node.process.pid}/fd")
                    if f"{mount}/store/segments" in os.readlink(f"/proc/{node.process.pid}/fd/{one}")]
    node.until("its files are let go", lambda: not held())
    purge = lambda: node.admin("POST", "/v1/purge", {"tags": ["any"]})[0]
    refused = purge()
    assert refused >= 500, "a purge that cannot be kept is not acknowledged"
    # The ledger of purges, in the first directory, is the one file that stays open.
    # So the old file system lives on, and the new one needs a device of its own.
    run("umount", "--lazy", mount)
    make(mount + "-new", mount)
    node.admin("PUT", "/v1/disk", {"directory": f"{mount}/store", "state": "ready"})
    node.until("it is back", lambda: node.state() == "ready")
    node.ask(range(100))
    node.until("it is written", lambda: node.disk()["queued_bytes"] == 0)
    hits = node.ask(range(100))
    print(f"purge meanwhile: {refused}; put back on a new file system: {hits} hits of 100, "
          f"purge {purge()}")
    assert hits > 90


def slow(node, _mount):
    node.ask(range(40))
    node.until("all is written", lambda: node.disk()["queued_bytes"] == 0)
    shed, over, times, waiting = node.count("writes_shed"), threading.Event(), [], []

    def in_memory():
        while not over.is_set():
            began = time.monotonic()
            node.ask([0])
            times.append(time.monotonic() - began)
            waiting.append(node.disk()["queued_bytes"])

    beside = threading.Thread(target=in_memory)
    beside.start()
    began = time.monotonic()
    node.ask(range(1_000, 2_500))
    took = time.monotonic() - began
    old = node.ask(range(1, 40))
    over.set()
    beside.join()
    shed, times = node.count("writes_shed") - shed, sorted(times)
    print(f"a disk of 2 MB a second each way: 150 MB of new objects in {took:.1f} s, all right, "
          f"{shed} writes shed, at most {max(waiting) >> 10} KiB waiting; {old} of 39 old "
          f"ones from disk; one object in memory all the while, connection included: median "
          f"{times[len(times) // 2] * 1e3:.1f} ms, p99 {times[len(times) * 99 // 100] * 1e3:.1f} ms, "
          f"at most {times[-1] * 1e3:.0f} ms in {len(times)}; state {node.state()}")
    assert shed > 500 and max(waiting) <= 8 << 20 and node.state() == "ready" and took < 30


def prepare(prove, work, mount):
    """Mounts what is to fail; memory of the node and further lines of its disk."""
    if prove is full:
        run("mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", mount)
    elif prove is read_only:
        make(os.path.join(work, "image"), mount)
    else:
        fast = os.path.join(work, "fast")
        os.mkdir(fast)
        run("bindfs", "--read-rate=2M", "--write-rate=2M", fast, mount)
        return "16MiB", 'queue_max = "4MiB"'
    return "1MiB", ""


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--brink", default="target/release/brink")
    options = parser.parse_args()
    if os.geteuid() != 0:
        raise SystemExit("this mounts file systems and needs root")
    if "BRINK_DEVICES" not in os.environ:
        os.environ["BRINK_DEVICES"] = "own namespace"
        os.execvp("unshare", ["unshare", "-m", sys.executable] + sys.argv)
    origin = Threads(("127.0.0.1", 0), Origin)
    threading.Thread(target=origin.serve_forever, daemon=True).start()
    for prove in (full, read_only, slow):
        work = tempfile.mkdtemp(prefix="brink-devices-")
        mount = os.path.join(work, "mount")
        os.mkdir(mount)
        settings = prepare(prove, work, mount)
        node = Asked(options.brink, work, origin.server_port, f"{mount}/store", *settings)
        try:
            node.start()
            prove(node, mount)
            assert node.stop() == 0
        finally:
            node.stop(signal.SIGKILL)
            subprocess.run(["umount", mount], check=False)
            shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
