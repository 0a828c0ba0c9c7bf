#!/usr/bin/env python3
"""A million objects on disk: how long a start takes, after a clean stop and after kill -9.

    tests/proof/start.py [--brink target/release/brink] [--objects 1000000] [--rounds 5]
                         [--dir DIR] [--while FILE]

Fills a node with small objects through HTTP, then stops and starts it again and again: with
SIGTERM, and with SIGKILL while it writes. Told is the time from the start of the process to
its first answer over HTTP (from the origin: the disk may still be joining) and to `/readyz`
saying 200, which it does when the disk has joined with every record. Each kind of start is
done with the segments in the page cache and with their pages thrown away before. Fails above
2 seconds after a clean stop, above 10 after a kill, with less than 99 % of the objects, or
with an index of more than 48 bytes an object. Linux only.
"""

import argparse
import multiprocessing
import os
import shutil
import signal
import socket
import statistics
import sys
import tempfile
import threading
import time

from program import Node

BODY, END, AT_ONCE = 700, b"<end>", 64
CLEAN_MAX, KILLED_MAX, BYTES_MAX = 2.0, 10.0, 48


def origin(listener):
    filler = b"x" * (BODY - len(END)) + END

    def talk(stream):
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        answer = (b"HTTP/1.1 200 OK\r\nCache-Control: max-age=864000\r\n"
                  b"Content-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % BODY) + filler
        waiting = b""
        while True:
            try:
                more = stream.recv(65536)
                waiting += more
                heads = waiting.count(b"\r\n\r\n")
                if heads:
                    waiting = waiting[waiting.rindex(b"\r\n\r\n") + 4:]
                    stream.sendall(answer * heads)
            except OSError:  # killed
                return
            if not more:
                return

    while True:
        stream, _ = listener.accept()
        threading.Thread(target=talk, args=(stream,), daemon=True).start()


def ask(port, names, gate=None):
    """Asks for all names, many at once on one connection; how many answers came."""
    stream = socket.create_connection(("127.0.0.1", port))
    done = 0
    for at in range(0, len(names), AT_ONCE):
        while gate and not os.path.exists(gate):
            time.sleep(0.1)
        some = names[at:at + AT_ONCE]
        stream.sendall(b"".join(b"GET /o/%d HTTP/1.1\r\nHost: start.test\r\n\r\n" % name
                                for name in some))
        got, tail = 0, b""
        while got < len(some):
            data = stream.recv(1 << 20)
            if not data:
                return done + got
            data = tail + data
            got += data.count(END)
            cut = data.rfind(END)
            tail = data[cut + len(END):] if cut >= 0 else data
            tail = tail[-(len(END) - 1):]
        done += got
    return done


def fill(port, objects, gate):
    context = multiprocessing.get_context("fork")
    clients = [context.Process(target=ask, args=(port, range(n, objects, 4), gate))
               for n in range(4)]
    [one.start() for one in clients]
    [one.join() for one in clients]


class Timed(Node):
    """The program, started against a clock."""

    def begin(self):
        """Starts it; seconds to the first answer and to the disk having joined."""
        began, first = time.monotonic(), None
        self.launch()
        while self.process.poll() is None:
            try:
                if first is None and ask(self.port, [0]) == 1:
                    first = time.monotonic() - began
                if first is not None and self.is_ready():
                    return first, time.monotonic() - began
            except OSError:
                pass
            time.sleep(0.002)
        raise SystemExit(open(self.log).read())


def forget_pages(store):
    """Throws the pages of the segments out of the page cache."""
    folder = os.path.join(store, "segments")
    for name in os.listdir(folder):
        file = os.open(os.path.join(folder, name), os.O_RDONLY)
        os.fsync(file)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(file)


def rounds(node, options, how, cold):
    """Starts after stops of one kind: median and most of both times, fewest records."""
    firsts, joins, records = [], [], []
    for turn in range(options.rounds):
        if how == signal.SIGKILL:
            first = options.objects * (2 + 2 * turn + cold)
            fresh = range(first, first + options.objects)
            load = threading.Thread(target=lambda: quiet(ask, node.port, fresh), daemon=True)
            load.start()
            time.sleep(0.5)
        node.stop(how)
        if cold:
            forget_pages(node.store)
        first, joined = node.begin()
        firsts.append(first)
        joins.append(joined)
        records.append(node.disk()["records"])
    return firsts, joins, min(records)


def quiet(call, *args):
    try:
        call(*args)
    except OSError:
        pass


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--brink", default="target/release/brink")
    parser.add_argument("--objects", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dir", default=None, help="where the store is made; else a temporary one")
    parser.add_argument("--while", dest="gate", metavar="FILE", default=None,
                        help="fill only while this file is there")
    options = parser.parse_args()
    work = tempfile.mkdtemp(dir=options.dir)
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    node = Timed(options.brink, work, listener.getsockname()[1], "64MiB",
                 f"{max(1, options.objects * 4 >> 20)}GiB", 'admit = "all"')
    context = multiprocessing.get_context("fork")
    origins = [context.Process(target=origin, args=(listener,), daemon=True) for _ in "ab"]
    [one.start() for one in origins]
    try:
        good = prove(node, options)
    finally:
        node.stop(signal.SIGKILL)
        [one.terminate() for one in origins]
        shutil.rmtree(work, ignore_errors=True)
    sys.exit(0 if good else 1)


def prove(node, options):
    node.begin()
    began = time.monotonic()
    # What a busy disk shed the first time is asked for again.
    for _ in range(3):
        fill(node.port, options.objects, options.gate)
        while node.disk()["queued_bytes"] > 0:
            time.sleep(0.1)
        if node.disk()["records"] >= options.objects * 0.999:
            break
    told = node.disk()
    each = told["index_bytes"] / told["records"]
    print(f"{told['records']} records after {time.monotonic() - began:.0f} s, index "
          f"{told['index_bytes'] >> 20} MiB, {each:.1f} bytes a record", flush=True)
    checks = {"index within its bound": each <= BYTES_MAX,
              "all written": told["records"] >= options.objects * 0.99}
    while options.gate and not os.path.exists(options.gate):
        time.sleep(0.1)
    kinds = (("clean stop", signal.SIGTERM, CLEAN_MAX), ("kill -9", signal.SIGKILL, KILLED_MAX))
    for name, how, limit in kinds:
        for cold in (False, True):
            firsts, joins, fewest = rounds(node, options, how, cold)
            print(f"after {name}, segments {'out of' if cold else 'in'} the page cache, "
                  f"{options.rounds} times: first answer median {statistics.median(firsts):.3f} s, "
                  f"disk joined median {statistics.median(joins):.3f} s, at most "
                  f"{max(joins):.3f} s, {fewest} records at least", flush=True)
            checks[f"in time after {name}, cold {cold}"] = max(joins) <= limit
            checks[f"warm after {name}, cold {cold}"] = fewest >= options.objects * 0.99
    node.stop(signal.SIGTERM)
    for what, holds in checks.items():
        print(f"{'ok' if holds else 'FAILED'}: {what}")
    return all(checks.values())


if __name__ == "__main__":
    main()
