#!/usr/bin/env python3
"""Attacks on the running program with its default settings, and what they cost others.

    tests/proof/attacks.py [--brink target/release/brink] [--only WORD,WORD] [--idle 10000]

Under each attack a well-behaved client asks for a stored 4 KiB object on one connection; the
attack passes if no request of it fails, its 95th percentile stays below twice the quiet value
(measured just before; on a busy machine up to three tries, because the neighbours of the
machine look like an attack), the program's resident memory grows by less than 64 MiB, and it
still runs. How busy the node was and how a connection of the attacker ends is printed beside
it. The file limit is raised as far as it goes; with less than 2 x --idle files the idle attack
uses what there is.

What is measured is the node and not the load generator: with two cores or more the node has
all but the last one, on which the good client, a process of its own, goes before the attacker.
"""

import argparse
import multiprocessing
import os
import resource
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time

SMALL, LARGE = b"x" * 4096, b"y" * (4 << 20)
FORK = multiprocessing.get_context("fork")
CORES = sorted(os.sched_getaffinity(0))
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def origin():
    """Answers /small and /large cacheable, /nostore large and not, /slow after 3 s."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)

    def serve(peer):
        last_in_line(threading.get_native_id())
        held = b""
        try:
            while True:
                while b"\r\n\r\n" not in held:
                    more = peer.recv(65536)
                    if not more:
                        return
                    held += more
                head, held = held.split(b"\r\n\r\n", 1)
                target = head.split(b" ")[1]
                if target.startswith(b"/slow") or head.startswith(b"POST"):
                    time.sleep(3)
                large = target.startswith((b"/large", b"/nostore"))
                body = LARGE if large else SMALL
                kept = b"no-store" if target.startswith((b"/nostore", b"/slow")) else b"max-age=900"
                peer.sendall(b"HTTP/1.1 200 OK\r\nCache-Control: %s\r\nContent-Length: %d\r\n\r\n"
                             % (kept, len(body)))
                # In short calls, between which the good client gets its turn.
                for at in range(0, len(body), 1 << 16):
                    peer.sendall(body[at:at + (1 << 16)])
        except OSError:
            pass
        finally:
            peer.close()

    def accept():
        while True:
            threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]


class Node:
    def __init__(self, program):
        self.plain, self.secure = free_port(), free_port()
        self.process = subprocess.Popen(
            [program, "run", "--origin", f"http://127.0.0.1:{origin()}",
             "--listen", f"127.0.0.1:{self.plain}", "--listen-tls", f"127.0.0.1:{self.secure}"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=lambda: on(CORES[:-1]))
        for _ in range(400):
            try:
                return socket.create_connection(("127.0.0.1", self.plain), 1).close()
            except OSError:
                time.sleep(0.05)
        raise SystemExit("the node did not start")

    def resident(self):
        with open(f"/proc/{self.process.pid}/status") as file:
            return next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmRSS"))

    def worked(self):
        """Seconds of processor time so far."""
        with open(f"/proc/{self.process.pid}/stat") as file:
            user, system = file.read().rsplit(")", 1)[1].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def tcp(self, secure=False, buffer=None):
        one = socket.socket()
        if buffer:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        one.settimeout(5)
        one.connect(("127.0.0.1", self.secure if secure else self.plain))
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return one

    def tls(self, protocol, buffer=None):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols([protocol])
        return context.wrap_socket(self.tcp(True, buffer), server_hostname="a.test")


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def on(cores):
    """Keeps this process on some cores, if there are any to choose from."""
    if cores:
        os.sched_setaffinity(0, cores)


def last_in_line(thread):
    """Gives it the processor time that nobody else wants."""
    os.sched_setscheduler(thread, os.SCHED_IDLE, os.sched_param(0))


class Beside:
    """Work in a process of its own, because the threads of one Python take turns."""

    def __init__(self, work, *arguments):
        self.ours, theirs = FORK.Pipe()
        self.process = FORK.Process(target=work, args=(theirs, *arguments), daemon=True)
        self.process.start()

    def said(self):
        return self.ours.recv()

    def end(self):
        self.ours.send("end")


def ask_often(master, node):
    """The well-behaved client; says how long its requests took and how many failed."""
    peer, times, failed = None, [], 0
    while not master.poll():
        begun = time.perf_counter()
        try:
            peer = peer or node.tcp()
            peer.sendall(b"GET /small HTTP/1.1\r\nHost: a.test\r\n\r\n")
            held = b""
            while not held.endswith(SMALL):
                more = peer.recv(65536)
                if not more:
                    raise OSError("closed")
                held += more
            if not held.startswith(b"HTTP/1.1 200"):
                raise OSError("refused")
        except OSError:
            failed, peer = failed + 1, None
        times.append(time.perf_counter() - begun)
        time.sleep(0.005)
    master.send((times, failed))


def attack_once(master, node, attack):
    """The attacker; says how it ended, and keeps its connections until told."""
    last_in_line(0)
    peers, end = attack(node)
    master.send(end)
    master.recv()
    del peers


def judged(good):
    """The 95th percentile of a good client in milliseconds, and how many requests failed."""
    good.end()
    times, failed = good.said()
    return 1000 * sorted(times)[int(len(times) * 0.95)], failed


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def literal(name, value, indexed=False):
    def text(it):
        size = bytes([len(it)]) if len(it) < 127 else b"\x7f"
        left = len(it) - 127
        while len(it) >= 127:
            size += bytes([left % 128 | (0x80 if left >= 128 else 0)])
            left //= 128
            if left == 0:
                break
        return size + it
    return (b"\x40" if indexed else b"\x00") + text(name) + text(value)


def fields(path, method=b"GET", more=b""):
    return (literal(b":method", method) + literal(b":scheme", b"https")
            + literal(b":authority", b"a.test") + literal(b":path", path) + more)


def ends(peer):
    """How a connection ends, within a second."""
    peer.settimeout(1)
    held = b""
    try:
        while True:
            more = peer.recv(65536)
            if not more:
                break
            held += more
    except TimeoutError:
        return "still open"
    except OSError:
        return "reset"
    at, code = 0, None
    while len(held) >= at + 9:
        if held[at + 3] == 7:
            code = int.from_bytes(held[at + 13:at + 17], "big")
        at += 9 + int.from_bytes(held[at:at + 3], "big")
    return "closed" if code is None else f"GOAWAY {code}"


def flood(make, first=b"", settings=b"", count=20_000):
    """Frames made by `make(stream)` until the node has had enough."""
    def attack(node):
        peer = node.tls("h2")
        try:
            peer.sendall(PREFACE + frame(4, 0, 0, settings) + first)
            for batch in range(0, count, 100):
                peer.sendall(b"".join(make(2 * n + 1) for n in range(batch, batch + 100)))
        except OSError:
            pass
        return [peer], ends(peer)
    return attack


def crowd(count, what, secure=False, buffer=None):
    """Many connections that send `what(n)` and then nothing."""
    def attack(node):
        peers = []
        for n in range(count):
            try:
                peer = node.tls("http/1.1", buffer) if secure else node.tcp(False, buffer)
                peer.sendall(what(n))
                peers.append(peer)
            except OSError:
                break
        time.sleep(3)
        return peers, f"{len(peers)} connections"
    return attack


def shut_windows(node):
    """500 streams on 5 connections whose windows stay shut."""
    peers = []
    for _ in range(5):
        peer = node.tls("h2")
        peer.sendall(PREFACE + frame(4, 0, 0, b"\0\4\0\0\0\0"))
        peer.sendall(b"".join(frame(1, 5, s, fields(b"/large")) for s in range(1, 200, 2)))
        peers.append(peer)
    time.sleep(3)
    return peers, "500 streams"


def attacks(idle):
    reset = b"\0\0\0\x08"
    upload = frame(1, 4, 1, fields(b"/up", b"POST"))
    block = frame(1, 1, 1, fields(b"/c"))
    bomb = literal(b"x", b"b" * 3000, True)

    def ask(target, more=b"\r\n"):
        return b"GET " + target + b" HTTP/1.1\r\nHost: a.test\r\n" + more

    return {
        "SETTINGS flood": flood(lambda s: frame(4, 0, 0)),
        "PING flood": flood(lambda s: frame(6, 0, 0, b"12345678")),
        "PING answers flood": flood(lambda s: frame(6, 1, 0, b"12345678")),
        "PRIORITY flood": flood(lambda s: frame(2, 0, s, b"\0\0\0\0\x10")),
        "WINDOW_UPDATE flood": flood(lambda s: frame(8, 0, 0, b"\0\0\0\1"), count=200_000),
        "unknown frames flood": flood(lambda s: frame(0xEE, 0, 0, b"x" * 1000)),
        "empty DATA flood": flood(lambda s: frame(0, 0, 1), upload),
        "padding flood": flood(lambda s: frame(0, 8, 1, b"\xff" + bytes(255)), upload),
        "CONTINUATION flood": flood(lambda s: frame(9, 0, 1, literal(b"a", b"v" * 9000)), block),
        "empty CONTINUATION flood": flood(lambda s: frame(9, 0, 1), block),
        "rapid reset": flood(lambda s: frame(1, 5, s, fields(b"/slow%d" % s)) + frame(3, 0, s, reset)),
        "made you reset": flood(
            lambda s: frame(1, 5, s, fields(b"/slow%d" % s)) + frame(8, 0, s, bytes(4))),
        "made you reset by a lie": flood(lambda s: frame(
            1, 5, s, fields(b"/slow%d" % s, b"POST", literal(b"content-length", b"9")))),
        "more streams than allowed": flood(lambda s: frame(1, 5, s, fields(b"/slow%d" % s))),
        "HPACK bomb": flood(lambda s: frame(1, 5, s, fields(b"/b", more=bomb + b"\xbe" * 8000))),
        "thousands of fields": flood(
            lambda s: frame(1, 5, s, fields(b"/f", more=b"\0\1a\0" * 3000)), count=1000),
        "shut windows": shut_windows,
        "slow heads": crowd(200, lambda n: b"GET /small HTTP/1.1\r\nHost: a"),
        "slow bodies": crowd(200, lambda n: b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\nab"),
        "unfinished large heads": crowd(1900, lambda n: ask(b"/", b"X: " + b"y" * 30_000)),
        "stalled readers": crowd(500, lambda n: ask(b"/large"), buffer=2048),
        "stalled readers over TLS": crowd(200, lambda n: ask(b"/large"), True, 2048),
        "stalled readers of a cold object": crowd(200, lambda n: ask(b"/large/cold"), buffer=2048),
        "stalled readers of what is not kept": crowd(200, lambda n: ask(b"/nostore/%d" % n), buffer=2048),
        "handshakes that never begin": crowd(600, lambda n: b""),
        "idle connections of one address": crowd(1900, lambda n: b""),
        "idle connections": lambda node: many_idle(node, idle),
    }


def many_idle(node, count):
    """From many addresses, because one may have 2,000."""
    peers = []
    for n in range(count):
        one = socket.socket()
        one.settimeout(5)
        try:
            one.bind((f"127.0.{1 + n // 1500}.1", 0))
            one.connect(("127.0.0.1", node.plain))
        except OSError:
            break
        peers.append(one)
    time.sleep(3)
    return peers, f"{len(peers)} connections"


def measure(node, attack):
    quiet = Beside(ask_often, node)
    time.sleep(1.5)
    (calm, lost), before = judged(quiet), node.resident()
    peak, going = [before], [True]

    def watch():
        while going[0]:
            peak[0] = max(peak[0], node.resident())
            time.sleep(0.02)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    good, begun, before_work = Beside(ask_often, node), time.time(), node.worked()
    attacker = Beside(attack_once, node, attack)
    end = attacker.said()
    time.sleep(max(0.0, 3 - (time.time() - begun)))
    busy, failed = judged(good)
    share = 100 * (node.worked() - before_work) / (time.time() - begun)
    attacker.end()
    going[0] = False
    watcher.join()
    alive = node.process.poll() is None
    grown = peak[0] - before
    sound = alive and failed + lost == 0 and grown < 64
    # Below a millisecond the ratio is that of the scheduler.
    return sound, busy < 2 * max(calm, 1.0), (calm, busy, grown, share, failed, end)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--brink", default="target/release/brink")
    parser.add_argument("--only", default="")
    parser.add_argument("--idle", type=int, default=10_000)
    options = parser.parse_args()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    on(CORES[-1:])
    node, failed, passed = Node(options.brink), 0, 0
    for target in (b"/small", b"/large"):
        with node.tcp() as peer:
            peer.sendall(b"GET " + target + b" HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
            while peer.recv(1 << 20):
                pass
    print(f"{'attack':36} {'quiet p95':>9} {'p95':>9} {'memory':>9} {'busy':>6}  ends")
    for name, attack in attacks(min(options.idle, most - 500)).items():
        if not any(word in name for word in options.only.split(",")):
            continue
        for _ in range(3):
            sound, prompt, (calm, busy, grown, share, lost, end) = measure(node, attack)
            if not sound or prompt:
                break
        good = sound and prompt
        passed, failed = passed + good, failed + (not good)
        print(f"{name:36} {calm:6.2f} ms {busy:6.2f} ms {grown:+5.1f} MiB {share:4.0f} %  {end}"
              f"{'' if good else '  FAILED'}{f', {lost} requests failed' if lost else ''}", flush=True)
    node.process.terminate()
    node.process.wait(40)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
