#!/usr/bin/env python3
"""A file of 10 GiB through a node with 64 MiB of memory and 1 GiB of disk.

    tests/proof/large.py [--brink target/release/brink] [--gib 10]

One client reads all of it, one reads slowly, a few seek. Prints the resident memory of the
node meanwhile and the bytes the origin gave away, and fails if a byte is wrong, a body is
short, or memory grows with the file. The origin is in here: the bytes tell their offset.
"""

import argparse
import http.client
import http.server
import random
import shutil
import socket
import socketserver
import sys
import tempfile
import threading
import time

from program import Node

BLOCK = 1 << 20
PATTERN = random.Random(7).randbytes(1 << 16) * 17


def block(n):
    """The bytes of MiB number n: a window of the pattern that differs for neighbours."""
    start = n * 40503 % (1 << 16)
    return PATTERN[start:start + BLOCK]


class Origin(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    total = 0
    sent = 0
    asked = 0

    def setup(self):
        # What lies in the system's buffers counts as sent: little of it.
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 256 << 10)
        super().setup()

    def do_GET(self):
        Origin.asked += 1
        first, last, status = 0, self.total - 1, 200
        span = self.headers.get("Range")
        if span:
            low, high = span.removeprefix("bytes=").split("-")
            first, last, status = int(low), min(int(high or last), last), 206
        self.send_response(status)
        self.send_header("ETag", '"film"')
        self.send_header("Cache-Control", "max-age=3600")
        self.send_header("Content-Length", str(last + 1 - first))
        if status == 206:
            self.send_header("Content-Range", f"bytes {first}-{last}/{self.total}")
        self.end_headers()
        at = first
        while at <= last:
            n, skip = divmod(at, BLOCK)
            data = block(n)[skip:last + 1 - n * BLOCK]
            try:
                self.wfile.write(data)
            except OSError:
                return
            at += len(data)
            Origin.sent += len(data)

    def log_message(self, *_):
        pass


class Threads(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True


def read(port, first, last, total, pause=0.0, stop=None):
    """Reads a range and checks every byte; returns how many came."""
    wire = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    wire.connect()
    wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 256 << 10)
    wire.request("GET", "/film", headers={"Range": f"bytes={first}-{'' if last is None else last}"})
    answer = wire.getresponse()
    assert answer.status == 206, answer.status
    at, end = first, (total if last is None else last + 1)
    while at < end and not (stop and at - first >= stop):
        n, skip = divmod(at, BLOCK)
        wanted = min(end - at, BLOCK - skip)
        data = answer.read(wanted)
        assert data == block(n)[skip:skip + wanted], f"wrong bytes at {at}"
        at += len(data)
        time.sleep(pause)
    wire.close()
    return at - first


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--brink", default="target/release/brink")
    parser.add_argument("--gib", type=int, default=10)
    parser.add_argument("--dir", default=None, help="where the store is made; else a temporary one")
    options = parser.parse_args()
    Origin.total = options.gib << 30
    origin = Threads(("127.0.0.1", 0), Origin)
    threading.Thread(target=origin.serve_forever, daemon=True).start()
    work = tempfile.mkdtemp(prefix="brink-large-", dir=options.dir)
    node = Node(options.brink, work, origin.server_port, "64MiB", "1GiB")
    peak, done = [0], threading.Event()

    def watch():
        while not done.wait(0.2):
            peak[0] = max(peak[0], node.resident() >> 20)

    try:
        port = node.start().port
        threading.Thread(target=watch, daemon=True).start()
        total = Origin.total
        for place in (total // 2, total // 3, total - (64 << 20)):
            read(port, place, None, total, stop=2 << 20)
        time.sleep(2)
        print(f"3 seeks of 2 MiB: {Origin.sent >> 20} MiB from the origin in {Origin.asked} "
              "requests", flush=True)
        # What is asked for first of something unknown is 8 MiB, then 2 and as much as was read.
        assert Origin.sent <= (8 + 3 * 8) << 20, "a seek pulls the file"
        crawl = threading.Thread(
            target=read, args=(port, 0, None, total, 0.2, 100 << 20), daemon=True)
        crawl.start()
        began, before = time.time(), Origin.sent
        got = read(port, 0, None, total)
        print(f"all of it: {got >> 20} MiB in {time.time() - began:.0f} s, "
              f"{(Origin.sent - before) >> 20} MiB from the origin in {Origin.asked} requests, "
              f"resident at most {peak[0]} MiB", flush=True)
        assert got == total
        assert peak[0] < 64 + 32 + 160, "memory grows with the file"
    finally:
        done.set()
        node.stop()
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
