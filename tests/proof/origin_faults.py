#!/usr/bin/env python3
"""Origins that fail in every way, real nginx among them, with load running all the time.

    tests/proof/origin_faults.py [--brink target/release/brink] [--seconds 4] [--only WORD]

Three sites before one node: `fleet` (two nginx of Debian and one scripted server), `solo`
(the scripted server alone) and `pair` (two nginx). A load of keep-alive clients asks for
cached keys (max-age=1, within their grace), for pages nobody asked for before, and posts.
One fault after another is switched on for some seconds. Every request is accounted for:

    sent = ok + stale + explained

ok and stale answers are compared byte for byte. Explained is a 502, 503 or 504 of the node
where nothing stale could answer (a miss without a healthy server, a POST that may not be
sent twice), the application's own 500, which is not tried elsewhere, a body that broke
visibly where the fault breaks bodies after their head, or the short body of a server that
announces less than it sends (whole by its own framing; it must not be kept).
Everything else is unexplained: a wrong byte, a cut body that looks whole, silence, and any
failure of a cached key or, with two healthy servers left, of a GET. After each fault all
cached keys are read again: none may hold a cut or wrong body. The exit code is 0 if nothing
was unexplained.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import zlib

KEYS, CLIENTS = 100, 12
PORTS = {"plain": 9490, "admin": 9491, "raw": 9492, "a": 9493, "b": 9494, "c": 9495, "d": 9496}
MIB = 1 << 20

NGINX_CONF = """
daemon off; master_process off; pid {dir}/pid; error_log {dir}/error;
events {{ worker_connections 1024; }}
http {{
  access_log {dir}/access; etag on;
  client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f;
  uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
  server {{
    listen 127.0.0.1:{port}; root {files};
    location /c/ {{ add_header Cache-Control max-age=1; }}
    location = /echo {{ return 200 "echo"; }}
  }}
}}
"""

BRINK_CONF = """
[[listen]]
addr = "127.0.0.1:{plain}"
[log]
access = "off"
[admin]
addr = "127.0.0.1:{admin}"
token_file = "{work}/token"
[memory]
capacity = "64MiB"
[serve]
stale_wait = "500ms"
{origins}
"""

ORIGIN_CONF = """
[[origin]]
name = "{name}"
servers = [{servers}]
timeouts = {{ connect = "1s", first_byte = "2s", head = "3s", between_bytes = "2s" }}
retry = {{ per_try = "500ms" }}
eject = {{ base = "500ms", max = "2s" }}
slow_start = "500ms"
[[site]]
hosts = ["{name}.test"]
origin = "{name}"
grace = "1h"
"""

# Faults that show only after the head was passed on: the client must see the break.
IN_BODY = {"reset in body", "length too long", "slow body", "bad chunks", "cut chunks"}


def body_of(path):
    line = path.split("?")[0].encode() + b"\n"
    return (line * (6000 // len(line) + 1))[:6000]


class Scripted:
    """The scripted server: serves the same files as nginx, or misbehaves."""

    def __init__(self):
        self.mode, self.asked = "well", []
        packed = zlib.compressobj(9, zlib.DEFLATED, 31)
        self.bomb = packed.compress(bytes(100 * MIB)) + packed.flush()

    async def serve(self, reader, writer):
        try:
            while True:
                if self.mode == "reset on connect":
                    return self.reset(writer)
                head = await reader.readuntil(b"\r\n\r\n")
                method, path = head.split(b" ")[:2]
                if method == b"POST":
                    await reader.readexactly(3)
                self.asked.append((time.monotonic(), path))
                if not await self.answer(writer, method, path.decode()):
                    return
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.LimitOverrunError,
                asyncio.CancelledError):
            pass
        finally:
            writer.close()

    def reset(self, writer):
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        writer.transport.abort()

    async def answer(self, writer, method, path):
        body = b"echo" if method == b"POST" else body_of(path)
        control = b"Cache-Control: max-age=1\r\n" if path.startswith("/c/") else b""
        ok = b"HTTP/1.1 200 OK\r\n" + control
        length = b"Content-Length: %d\r\n\r\n" % len(body)
        half = body[:len(body) // 2]
        chunked = ok + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(half) + half
        write, mode = writer.write, self.mode
        if mode == "well":
            write(ok + length + body)
            await writer.drain()
            return True
        if mode in ("hang", "slow head", "slow body"):
            if mode == "slow body":
                write(ok + length + half)
            for _ in range(200):
                if self.mode != mode or writer.is_closing():
                    return False
                if mode == "slow head":
                    write(b"H" if _ == 0 else b"")
                await asyncio.sleep(0.1)
            return False
        if mode == "slow answers":
            await asyncio.sleep(0.4)
            write(ok + length + body)
            return True
        if mode == "endless head":
            write(ok)
            for n in range(100_000):
                write(b"X-%d: " % n + b"y" * 1000 + b"\r\n")
                await writer.drain()
        elif mode == "100 MiB without a head":
            for _ in range(100):
                write(b"\x2a" * MIB)
                await writer.drain()
        elif mode == "gzip bomb":
            write(ok + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(self.bomb))
            write(self.bomb)
            await writer.drain()
            return True
        elif mode in ("500 answers", "503 answers"):
            write(b"HTTP/1.1 %s Oops\r\nContent-Length: 4\r\n\r\noops" % mode[:3].encode())
            await writer.drain()
            return True
        else:
            write({
                "reset in head": ok[:12],
                "reset in body": ok + length + half,
                "length too long": ok + length + half,
                "length too short": ok + b"Content-Length: %d\r\n\r\n" % len(half) + body,
                "two lengths": ok + b"Content-Length: 5\r\n" + length + body,
                "garbage": random.randbytes(5000),
                "bad chunks": chunked + b"\r\nzz\r\n" + half,
                "cut chunks": chunked + b"\r\n",
            }.get(mode, b""))
            await writer.drain()
        if mode.startswith("reset"):
            # What was written has to leave before the reset throws it away.
            await asyncio.sleep(0.02)
            self.reset(writer)
        return False


class Nginx:
    def __init__(self, work, name):
        self.dir, self.port = f"{work}/{name}", PORTS[name]
        os.makedirs(self.dir)
        with open(f"{self.dir}/conf", "w") as out:
            out.write(NGINX_CONF.format(dir=self.dir, port=self.port, files=f"{work}/files"))
        self.process = None

    async def start(self):
        self.process = subprocess.Popen(["/usr/sbin/nginx", "-c", f"{self.dir}/conf"],
                                        stderr=subprocess.DEVNULL)
        for _ in range(300):
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                await asyncio.sleep(0.02)
        sys.exit("nginx did not start")

    def signal(self, number):
        self.process.send_signal(number)

    async def end(self, number):
        self.signal(number)
        while self.process.poll() is None:
            await asyncio.sleep(0.02)

    def asked(self):
        with open(f"{self.dir}/access") as log:
            return sum(1 for _ in log)


class Account:
    def __init__(self):
        self.sent = self.ok = self.stale = self.hits = 0
        self.explained, self.unexplained, self.longest = {}, [], 0.0


async def ask(conn, host, method, path):
    """Status, fields, body and whether it ended as its framing said."""
    reader, writer = conn
    extra = "Content-Length: 3\r\n\r\nabc" if method == "POST" else "\r\n"
    writer.write(f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n{extra}".encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin1")
    lines = head.split("\r\n")
    fields = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
    status, body, whole = int(lines[0].split(" ")[1]), b"", False
    try:
        if "content-length" in fields:
            body = await reader.readexactly(int(fields["content-length"]))
        elif "chunked" in fields.get("transfer-encoding", ""):
            while size := int(await reader.readuntil(b"\r\n"), 16):
                body += (await reader.readexactly(size + 2))[:-2]
            await reader.readexactly(2)
        else:
            body = await reader.read()
        whole = True
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    return status, fields, body, whole


def judge(account, what, got, healthy, in_body, bomb, short):
    """Files one answer. `what` is "cached", "page" or "post"."""
    kind, path = what
    if got is None:
        account.unexplained.append(f"{path}: no answer")
        return
    status, fields, body, whole = got
    wanted = b"echo" if kind == "post" else body_of(path)
    state = fields.get("cache-status", "")
    good = status == 200 and whole and (body == wanted or (bomb and body == bomb))
    if good and "; hit" in state and "ttl=-" in state:
        account.stale += 1
    elif good:
        account.ok += 1
        account.hits += "; hit" in state
    elif status in (500, 502, 503, 504) and whole and kind != "cached" and \
            (not healthy or kind == "post" or status == 500):
        account.explained[str(status)] = account.explained.get(str(status), 0) + 1
    elif status == 200 and whole and short and body == wanted[:len(wanted) // 2]:
        account.explained["short"] = account.explained.get("short", 0) + 1
    elif status == 200 and not whole and wanted.startswith(body) and in_body:
        account.explained["cut"] = account.explained.get("cut", 0) + 1
    else:
        account.unexplained.append(f"{kind} {path}: {status} whole={whole} {len(body)} {state}")


async def client(account, host, stop, number, context):
    conn, round_ = None, 0
    while not stop.is_set():
        round_ += 1
        turn = round_ % 10
        kind = "post" if turn == 0 else "page" if turn in (3, 6, 9) else "cached"
        path = {"post": "/echo", "page": f"/page?{host}{number}-{round_}-{random.random()}",
                "cached": f"/c/{random.randrange(KEYS)}"}[kind]
        method = "POST" if kind == "post" else "GET"
        began, got = time.monotonic(), None
        try:
            conn = conn or await asyncio.open_connection("127.0.0.1", PORTS["plain"], limit=MIB)
            got = await asyncio.wait_for(ask(conn, host, method, path), 15)
        except (asyncio.TimeoutError, asyncio.IncompleteReadError, OSError):
            pass
        account.sent += 1
        account.longest = max(account.longest, time.monotonic() - began)
        judge(account, (kind, path), got, *context)
        if got is None or not got[3] or got[1].get("connection") == "close":
            if conn:
                conn[1].close()
            conn = None


def origins(work):
    with open(f"{work}/token") as file:
        token = file.read().split()[-1]
    request = urllib.request.Request(f"http://127.0.0.1:{PORTS['admin']}/v1/origins")
    request.add_header("Authorization", f"Bearer {token}")
    answer = json.load(urllib.request.urlopen(request, timeout=10))
    return {group["name"]: group for group in answer["origins"]}


def counts(group):
    servers = group["servers"]
    asked = sum(server["requests"] for server in servers)
    out = sum(sum(server["ejections"].values()) for server in servers)
    return group["retries"], asked, out


def rss(process):
    with open(f"/proc/{process.pid}/status") as status:
        for line in status:
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
    return 0


class Proof:
    def __init__(self, options, work):
        self.options, self.work, self.script, self.bad = options, work, Scripted(), 0
        self.nginx = {name: Nginx(work, name) for name in "abcd"}

    async def world(self):
        os.makedirs(f"{self.work}/files/c")
        for path in ["/page"] + [f"/c/{n}" for n in range(KEYS)]:
            with open(f"{self.work}/files{path}", "wb") as out:
                out.write(body_of(path))
        for nginx in self.nginx.values():
            await nginx.start()
        await asyncio.start_server(self.script.serve, "127.0.0.1", PORTS["raw"])
        url = lambda name: f'"http://127.0.0.1:{PORTS[name]}"'
        groups = {"fleet": "a b raw", "solo": "raw", "pair": "c d"}
        text = "".join(ORIGIN_CONF.format(name=name, servers=", ".join(map(url, list_.split())))
                       for name, list_ in groups.items())
        with open(f"{self.work}/node.toml", "w") as out:
            out.write(BRINK_CONF.format(work=self.work, origins=text, **PORTS))
        self.log = open(f"{self.work}/log", "w")
        self.node = subprocess.Popen([self.options.brink, "run", "--config",
                                      f"{self.work}/node.toml"], stderr=self.log)
        for _ in range(500):
            with open(f"{self.work}/log") as log:
                if "ready" in log.read():
                    return
            await asyncio.sleep(0.02)
        sys.exit("brink did not start")

    async def all_keys(self, site, bomb=None):
        """Every cached key once; those whose body is wrong or missing."""
        wrong, conn = [], await asyncio.open_connection("127.0.0.1", PORTS["plain"], limit=MIB)
        for n in range(KEYS):
            status, _, body, whole = await ask(conn, f"{site}.test", "GET", f"/c/{n}")
            good = status == 200 and whole and body in (body_of(f"/c/{n}"), bomb)
            if not good:
                wrong.append(f"cached /c/{n} afterwards: {status} {len(body)} whole={whole}")
        conn[1].close()
        return wrong

    async def fault(self, name, site, begin, finish, in_body=False):
        if self.options.only and self.options.only not in f"{site} {name}":
            return
        await self.all_keys(site)
        before = counts(origins(self.work)[site])
        account, stop = Account(), asyncio.Event()
        bomb = self.script.bomb if name == "gzip bomb" else None
        context = (site == "fleet", in_body, bomb, name == "length too short")
        load = [asyncio.create_task(client(account, f"{site}.test", stop, n, context))
                for n in range(CLIENTS)]
        await asyncio.sleep(0.5)
        await begin()
        memory = 0
        for _ in range(int(self.options.seconds * 10)):
            await asyncio.sleep(0.1)
            memory = max(memory, rss(self.node))
        await finish()
        herd_from = time.monotonic()
        await asyncio.sleep(2.5)
        stop.set()
        await asyncio.gather(*load)
        retries, asked, out = (b - a for a, b in zip(before, counts(origins(self.work)[site])))
        account.unexplained += await self.all_keys(site, bomb)
        # Cached keys asked of the scripted server within a second of its recovery.
        herd = [path for at, path in self.script.asked
                if herd_from <= at < herd_from + 1 and path.startswith(b"/c/")]
        explained = " ".join(f"{word}:{count}" for word, count in sorted(account.explained.items()))
        print(f"| {site} | {name} | {account.sent} | {account.ok} | {account.stale} | "
              f"{explained or 0} | {len(account.unexplained)} | {retries} | {asked} | {out} | "
              f"{len(herd) if site == 'solo' else '-'} | {account.longest:.1f} | {memory:.0f} |",
              flush=True)
        total = account.ok + account.stale + sum(account.explained.values())
        if total + len(account.unexplained) < account.sent:
            account.unexplained.append("the account does not add up")
        for line in account.unexplained[:5]:
            print("   unexplained:", line)
        self.bad += len(account.unexplained)
        self.script.asked.clear()
        await self.settled(site)

    async def settled(self, site):
        """Waits until every server is used again, so that faults do not add up."""
        for _ in range(150):
            await self.all_keys(site)
            group = origins(self.work)[site]
            states = {server["state"] for server in group["servers"]}
            # A server that was slow is asked little for some seconds.
            slow = max(server["latency_ms"] for server in group["servers"]) > 20
            if states <= {"up", "slow-start"} and not group["failing"] and not slow:
                return
            await asyncio.sleep(0.1)

    async def scripted(self, mode):
        async def begin():
            self.script.mode = mode

        async def finish():
            self.script.mode = "well"
        for site in ("fleet", "solo"):
            await self.fault(mode, site, begin, finish, in_body=mode in IN_BODY)

    async def run(self):
        await self.world()
        print("| site | fault | sent | ok | stale | explained | unexplained | retried | "
              "asked | ejected | herd | longest s | MiB |")
        print("|---" * 13 + "|")
        a, c, d = (self.nginx[name] for name in "acd")

        async def nothing():
            pass
        await self.fault("none", "fleet", nothing, nothing)
        both = lambda number: asyncio.gather(c.end(number), d.end(number))

        async def start_both():
            await asyncio.gather(c.start(), d.start())

        async def each(number, *servers):
            for server in servers:
                server.signal(number)
        await self.fault("nginx stopped (QUIT)", "fleet", lambda: a.end(signal.SIGQUIT), a.start)
        await self.fault("nginx killed", "fleet", lambda: a.end(signal.SIGKILL), a.start)
        await self.fault("nginx hung (STOP)", "fleet", lambda: each(signal.SIGSTOP, a),
                         lambda: each(signal.SIGCONT, a))
        await self.fault("both nginx stopped (QUIT)", "pair", lambda: both(signal.SIGQUIT),
                         start_both)
        await self.fault("both nginx killed", "pair", lambda: both(signal.SIGKILL), start_both)
        await self.fault("both nginx hung (STOP)", "pair", lambda: each(signal.SIGSTOP, c, d),
                         lambda: each(signal.SIGCONT, c, d))
        for mode in ["reset on connect", "reset in head", "reset in body", "hang", "slow head",
                     "slow body", "slow answers", "500 answers", "503 answers", "garbage",
                     "endless head", "100 MiB without a head", "two lengths", "length too long",
                     "length too short", "bad chunks", "cut chunks", "gzip bomb"]:
            await self.scripted(mode)

    def stop(self):
        for process in [nginx.process for nginx in self.nginx.values()] + [self.node]:
            if process and process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
                process.wait(60)


async def main(options):
    with tempfile.TemporaryDirectory(prefix="proof-") as work:
        os.chmod(work, 0o755)
        proof = Proof(options, work)
        try:
            await proof.run()
        finally:
            proof.stop()
        if options.log:
            with open(f"{work}/log") as log, open(options.log, "w") as out:
                out.write(log.read())
        print("nothing unexplained" if proof.bad == 0 else f"{proof.bad} unexplained")
        return 0 if proof.bad == 0 else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--brink", default="target/release/brink")
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--only", help="faults whose name contains this")
    parser.add_argument("--log", help="file for the node's own log")
    sys.exit(asyncio.run(main(parser.parse_args())))
