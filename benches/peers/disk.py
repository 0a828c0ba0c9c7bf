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

import load
import run
import servers


WORKLOADS = [(scheme, size) for scheme in ("http", "https") for size in ("1m", "10m")]


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
    rounds, running = {}, []
    try:
        # Both run all the time and take turns: what disturbs the machine disturbs both.
        for kind in (DiskBrink, servers.Nginx):
            running.append(kind(work, made).start())
        for server in running:
            for scheme, size in WORKLOADS:
                load.wrk(url(server, scheme, size), 1, 8)
        for _ in range(options.rounds):
            for workload in WORKLOADS:
                for server in running:
                    one(server, workload, options.seconds, rounds)
    finally:
        for server in running + [origin]:
            server.stop()
        subprocess.run(["rm", "-rf", work], check=False)
    print("| workload | Brink MB per CPU-second | nginx | ratio |\n|---|---|---|---|")
    for scheme, size in WORKLOADS:
        own, peer = (statistics.median(rounds[name, scheme, size]) for name in ("brink", "nginx"))
        print(f"| {scheme} {size} | {own / 1e6:.0f} | {peer / 1e6:.0f} | {own / peer:.2f} |")


def url(server, scheme, size):
    return f"{scheme}://localhost:{server.port if scheme == 'http' else server.tls_port}/{size}"


def one(server, workload, seconds, rounds):
    before = server.cpu_seconds()
    _, amount, failed = load.wrk(url(server, *workload), seconds, 8)
    spent = server.cpu_seconds() - before
    rounds.setdefault((server.name, *workload), []).append(amount / spent)
    print(f"{server.name} {' '.join(workload)}: {amount / spent / 1e6:.0f} MB/CPU-s, "
          f"{failed} failed", flush=True)


if __name__ == "__main__":
    main()
