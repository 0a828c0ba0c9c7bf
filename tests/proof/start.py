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
import http.client
import json
import multiprocessing
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

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


def fill(ports, objects, gate):
    context = multiprocessing.get_context("fork")
    clients = [context.Process(target=ask, args=(ports[0], range(n, objects, 4), gate))
               for n in range(4)]
    [one.start() for one in clients]
    [one.join() for one in clients]


def admin(ports, token, path):
    wire = http.client.HTTPConnection("127.0.0.1", ports[1], timeout=10)
    try:
        wire.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        answer = wire.getresponse()
        return answer.status, answer.read().decode()
    except OSError:
        return 0, ""
    finally:
        wire.close()


def disk(ports, token):
    return json.loads(admin(ports, token, "/v1/disk")[1])["directories"][0]


class Node:
    """The program on one store."""

    def __init__(self, options, work, ports, config):
        self.options, self.work, self.ports, self.config = options, work, ports, config
        self.process, self.token = None, None

    def start(self):
        """Starts it; seconds to the first answer and to the disk having joined."""
        began = time.monotonic()
        log = open(os.path.join(self.work, "log"), "a")
        self.process = subprocess.Popen(
            [self.options.brink, "run", "--config", self.config], stderr=log)
        first = None
        while True:
            if self.process.poll() is not None:
                raise SystemExit(open(log.name).read())
            if first is None:
                try:
                    if ask(self.ports[0], [0]) == 1:
                        first = time.monotonic() - began
                        with open(os.path.join(self.work, "token")) as file:
                            self.token = file.read().split()[-1]
                except OSError:
                    pass
            if first is not None and admin(self.ports, self.token, "/readyz")[0] == 200:
                return first, time.monotonic() - began
            time.sleep(0.002)

    def stop(self, how):
        self.process.send_signal(how)
        self.process.wait()


def forget_pages(store):
    """Throws the pages of the segments out of the page cache."""
    folder = os.path.join(store, "segments")
    for name in os.listdir(folder):
        file = os.open(os.path.join(folder, name), os.O_RDONLY)
        os.fsync(file)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(file)


def rounds(node, store, options, how, cold):
    """Starts after stops of one kind: median and most of both times, fewest records."""
    firsts, joins, records = [], [], []
    for turn in range(options.rounds):
        if how == signal.SIGKILL:
            first = options.objects * (2 + 2 * turn + cold)
            fresh = range(first, first + options.objects)
            load = threading.Thread(target=lambda: quiet(ask, node.ports[0], fresh), daemon=True)
            load.start()
            time.sleep(0.5)
        node.stop(how)
        if cold:
            forget_pages(store)
        first, joined = node.start()
        firsts.append(first)
        joins.append(joined)
        records.append(disk(node.ports, node.token)["records"])
    return firsts, joins, min(records)


def quiet(call, *args):
    try:
        call(*args)
    except OSError:
        pass


def free_ports():
    probes = [socket.socket() for _ in range(2)]
    [probe.bind(("127.0.0.1", 0)) for probe in probes]
    ports = [probe.getsockname()[1] for probe in probes]
    [probe.close() for probe in probes]
    return ports


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--brink", default="target/release/brink")
    parser.add_argument("--objects", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dir", default=None, help="where the store is made; else a temporary one")
    parser.add_argument("--while", dest="gate", metavar="FILE", default=None,
                        help="fill only while this file is there")
    options = parser.parse_args()
    work, ports = tempfile.mkdtemp(dir=options.dir), free_ports()
    store, config = os.path.join(work, "store"), os.path.join(work, "node.toml")
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    with open(config, "w") as file:
        file.write(f"""
[[listen]]
addr = "127.0.0.1:{ports[0]}"
[memory]
capacity = "64MiB"
[disk]
admit = "all"
[[disk.directory]]
path = "{store}"
capacity = "{max(1, options.objects * 4 >> 20)}GiB"
[admin]
addr = "127.0.0.1:{ports[1]}"
token_file = "{work}/token"
[log]
access = "off"
[[origin]]
name = "app"
servers = ["http://127.0.0.1:{listener.getsockname()[1]}"]
[[site]]
origin = "app"
""")
    context = multiprocessing.get_context("fork")
    origins = [context.Process(target=origin, args=(listener,), daemon=True) for _ in "ab"]
    [one.start() for one in origins]
    node = Node(options, work, ports, config)
    try:
        good = prove(node, store, options)
    finally:
        if node.process and node.process.poll() is None:
            node.stop(signal.SIGKILL)
        [one.terminate() for one in origins]
        shutil.rmtree(work, ignore_errors=True)
    sys.exit(0 if good else 1)


def prove(node, store, options):
    node.start()
    began = time.monotonic()
    # What a busy disk shed the first time is asked for again.
    for _ in range(3):
        fill(node.ports, options.objects, options.gate)
        while disk(node.ports, node.token)["queued_bytes"] > 0:
            time.sleep(0.1)
        if disk(node.ports, node.token)["records"] >= options.objects * 0.999:
            break
    told = disk(node.ports, node.token)
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
            firsts, joins, fewest = rounds(node, store, options, how, cold)
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
