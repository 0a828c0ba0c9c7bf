#!/usr/bin/env python3
"""Disk hits that sit in the page cache: Brink against nginx, bytes per CPU-second.

    benches/peers/disk.py [--rounds 3] [--seconds 3] [--ports 0]
                          [--brink target/release/brink]

Both stand before the same origin and have everything on disk. nginx is a caching proxy with
sendfile (its cache lives on disk and in the page cache). Brink's memory tier is so small that
it takes neither object, so every hit is read, verified and sent from the segment files. Server
on core 0, load on core 1, as in run.py.
"""

import argparse
import os
import statistics
import subprocess
import tempfile
import time

import load
import run
import servers


class DiskBrink(servers.Brink):
    """A memory tier that takes nothing of a MiB or more, and a disk tier that takes all."""

    def command(self):
        command = super().command()
        path = command[-1]
        text = open(path).read().replace('capacity = "3GiB"', 'capacity = "1MiB"')
        store = os.path.join(self.dir, "store")
        text += (f'[disk]\nadmit = "all"\n[[disk.directory]]\npath = "{store}"\n'
                 'capacity = "1GiB"\n')
        servers.write(path, text)
        return command


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--brink", default=os.path.join(run.ROOT, "target/release/brink"))
    parser.add_argument("--ports", type=int, default=0, help="moves all ports by this much")
    options = parser.parse_args()
    servers.shift(options.ports)
    work = tempfile.mkdtemp(prefix="brink-disk-")
    files = run.make_files(work)
    with open(os.path.join(files, "10m"), "rb") as all_of_it, \
            open(os.path.join(files, "1m"), "wb") as part:
        part.write(all_of_it.read(1 << 20))
    tls = run.make_certificate(work)
    made = {"files": files, "tls": tls, "brink": options.brink}
    origin = servers.Origin(work, made).start("1")
    rounds = {}
    try:
        for _ in range(options.rounds):
            for kind in (DiskBrink, servers.Nginx):
                server = kind(work, made).start()
                try:
                    one_round(server, options.seconds, rounds)
                finally:
                    server.stop()
    finally:
        origin.stop()
        subprocess.run(["rm", "-rf", work], check=False)
    print("| workload | Brink MB per CPU-second | nginx | ratio |\n|---|---|---|---|")
    for scheme in ("http", "https"):
        for size in ("1m", "10m"):
            own, peer = (statistics.median(rounds[name, scheme, size])
                         for name in ("brink", "nginx"))
            print(f"| {scheme} {size} | {own / 1e6:.0f} | {peer / 1e6:.0f} | {own / peer:.2f} |")


def one_round(server, seconds, rounds):
    for scheme, port in (("http", server.port), ("https", server.tls_port)):
        for size in ("1m", "10m"):
            url = f"{scheme}://localhost:{port}/{size}"
            load.wrk(url, 1, 8)
            time.sleep(1)
            before = server.cpu_seconds()
            _, amount, failed = load.wrk(url, seconds, 8)
            spent = server.cpu_seconds() - before
            rounds.setdefault((server.name, scheme, size), []).append(amount / spent)
            print(f"{server.name} {scheme} {size}: {amount / spent / 1e6:.0f} MB/CPU-s, "
                  f"{failed} failed", flush=True)


if __name__ == "__main__":
    main()
