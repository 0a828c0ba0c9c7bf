#!/usr/bin/env python3
"""A node with a ceiling on its address space, 10,000 slow clients and large objects.

    tests/proof/ceiling.py [--brink target/release/brink] [--clients 10000] [--room 128]

The node gets 64 MiB for its cache. Once it serves, its address space is limited to what it
has then plus `--room` (RLIMIT_AS: whatever needs more fails). Then come clients that send a
head and never end it, clients that ask for 24 MiB objects and do not read, and one that
behaves. The node must neither end nor fail the good one, other than by a 503 with
Retry-After, and when the crowd has gone it must serve as before. Linux only, half a minute.
"""

import argparse
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

BIG = 24 << 20


def origin(listener):
    body = bytes(BIG)

    def talk(stream):
        try:
            waiting = b""
            while True:
                while b"\r\n\r\n" not in waiting:
                    more = stream.recv(65536)
                    if not more:
                        return
                    waiting += more
                head, waiting = waiting.split(b"\r\n\r\n", 1)
                size = BIG if b"/big" in head else 1000
                stream.sendall(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\n"
                               b"Content-Length: %d\r\n\r\n" % size)
                stream.sendall(memoryview(body)[:size])
        except OSError:
            pass

    while True:
        stream, _ = listener.accept()
        threading.Thread(target=talk, args=(stream,), daemon=True).start()


def status_of(pid, field):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith(field))


def connect(port):
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def ask(port, path):
    """Status and whether the answer was whole; 0 if the connection ended first."""
    try:
        with connect(port) as stream:
            stream.sendall(b"GET %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" % path)
            answer = b""
            while True:
                more = stream.recv(65536)
                if not more:
                    break
                answer += more
    except OSError:
        return 0, False
    head, _, body = answer.partition(b"\r\n\r\n")
    status = int(head.split(b" ", 2)[1]) if head else 0
    return status, status == 200 and len(body) == 1000 or b"retry-after" in head.lower()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--brink", default="target/release/brink")
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--room", type=int, default=128, help="MiB of address space to grow by")
    args = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    threading.Thread(target=origin, args=(listener,), daemon=True).start()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    work = tempfile.mkdtemp()
    config = os.path.join(work, "node.toml")
    with open(config, "w") as file:
        file.write(f'[[listen]]\naddr = "127.0.0.1:{port}"\n[memory]\ncapacity = "64MiB"\n'
                   "[limits]\nconnections_per_address_max = 100000\n[log]\naccess = \"off\"\n"
                   '[[origin]]\nname = "app"\n'
                   f'servers = ["http://127.0.0.1:{listener.getsockname()[1]}"]\n'
                   '[[site]]\norigin = "app"\n')
    node = subprocess.Popen([args.brink, "run", "--config", config],
                            stderr=open(os.path.join(work, "log"), "w"))
    try:
        good = run(args, node, port)
    finally:
        node.send_signal(signal.SIGTERM)
        node.wait(60)
    sys.exit(0 if good and node.returncode == 0 else 1)


def run(args, node, port):
    until = time.monotonic() + 30
    while ask(port, b"/small")[0] != 200:
        if node.poll() is not None or time.monotonic() > until:
            raise SystemExit("it did not start")
        time.sleep(0.1)
    before = status_of(node.pid, "VmRSS")
    ceiling = status_of(node.pid, "VmSize") + (args.room << 20)
    resource.prlimit(node.pid, resource.RLIMIT_AS, (ceiling, ceiling))
    crowd, most, told = [], before, {}
    for n in range(args.clients):
        try:
            stream = connect(port)
            stream.sendall(b"GET /big/%d HTTP/1.1\r\nHost: a\r\n\r\n" % (n % 300)
                           if n % 20 == 0 else b"GET /slow HTTP/1.1\r\nHost: a")
            crowd.append(stream)
        except OSError:
            pass
        if n % 200 == 0:
            answer = ask(port, b"/small")
            told[answer] = told.get(answer, 0) + 1
            if node.poll() is not None:
                print(f"FAILED: it ended with {node.returncode} at client {n}")
                return False
            most = max(most, status_of(node.pid, "VmRSS"))
    peak = status_of(node.pid, "VmSize")
    print(f"{len(crowd)} in the crowd; resident {before >> 20} MiB before, at most {most >> 20}; "
          f"address space {peak >> 20} of {ceiling >> 20} MiB; the good client was told {told}")
    [stream.close() for stream in crowd]
    until = time.monotonic() + 30
    while ask(port, b"/small") != (200, True):
        if node.poll() is not None or time.monotonic() > until:
            print("FAILED: it does not recover")
            return False
        time.sleep(0.2)
    bad = sum(count for (_, fine), count in told.items() if not fine)
    print("ok: it serves as before" if not bad else f"FAILED: {bad} answers to the good client")
    return not bad


if __name__ == "__main__":
    main()
