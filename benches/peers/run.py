#!/usr/bin/env python3
"""Compares Brink with its peers: work per CPU-second of the server's processes.

    benches/peers/run.py                     everything, 3 rounds (about 25 minutes)
    benches/peers/run.py --quick             1 round, 2 seconds each, no extras
    benches/peers/run.py --only h1_1k,h2_1k --servers brink,nginx,haproxy --extras none
    benches/peers/run.py --only none --extras idle,small --objects 200000
    benches/peers/run.py --install           installs the peers from Debian first

Server on core 0, load generator and origin on core 1, so two cores are needed. All servers
run all the time and take turns in slices, so that what disturbs the machine disturbs all of
them; the median of the rounds counts. Saves results.json (results that are not measured
again stay in it) and chart.svg, prints the table.
"""

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import chart
import extras
import load
import servers

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PEERS = ["nginx", "haproxy", "varnish", "trafficserver", "squid"]
PACKAGES = ["nginx", "haproxy", "varnish", "trafficserver", "squid", "wrk", "nghttp2-client",
            "openssl"]
ZIPF_COUNT = 4000

# name, unit, needs TLS, needs h2, what wins: the bar against the best peer and the floor
WORKLOADS = {
    "h1_1k": ("req", False, False, 1.3, 0.85),
    "h1_64k": ("req", False, False, 1.3, 0.9),
    "h1_10m": ("GB", False, False, 1.0, None),
    "zipf": ("req", False, False, 1.3, None),
    "miss": ("req", False, False, 1.2, None),
    "tls_1k": ("req", True, False, 1.5, None),
    "tls_64k": ("req", True, False, None, None),
    "tls_10m": ("GB", True, False, 2.0, None),
    "handshake": ("conn", True, False, 1.8, None),
    "resumed": ("conn", True, False, None, None),
    "h2_1k": ("req", True, True, 1.2, None),
    "h2_64k": ("req", True, True, 1.8, None),
}

EXTRAS = ["latency", "storm", "disk_hits", "two_cores", "idle", "small", "start_up"]


def make_files(work):
    """The origin's files: fixed sizes, and a Zipf mix between 200 bytes and 200 KiB."""
    files = os.path.join(work, "files")
    os.makedirs(os.path.join(files, "zipf"), exist_ok=True)
    dice = random.Random(7)
    block = dice.randbytes(1 << 20)
    for name, size in (("1k", 1 << 10), ("64k", 64 << 10), ("10m", 10 << 20)):
        with open(os.path.join(files, name), "wb") as out:
            out.write((block * 10)[:size])
    for n in range(1, ZIPF_COUNT + 1):
        size = min(200 << 10, max(200, int(dice.lognormvariate(8.6, 1.3))))
        with open(os.path.join(files, "zipf", str(n)), "wb") as out:
            out.write(block[:size])
    for path, _, _ in os.walk(work):
        os.chmod(path, 0o755)
    return files


def make_certificate(work):
    cert, key = os.path.join(work, "cert.pem"), os.path.join(work, "key.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj",
                    "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
                    "-keyout", key, "-out", cert], check=True, capture_output=True)
    os.chmod(key, 0o644)
    return {"cert": cert, "key": key}


def workload(name, server, seconds, scripts):
    """One measured run of one workload."""
    plain = f"http://127.0.0.1:{server.port}"
    tls = f"https://localhost:{server.tls_port}"
    size = {"1k": "/1k", "64k": "/64k", "10m": "/10m"}.get(name.split("_")[-1], "/1k")
    if name.startswith("h2_"):
        return load.measured(server, lambda: load.h2load(tls + size, seconds, 32, 16))
    if name == "zipf":
        return load.measured(server, lambda: load.wrk(plain, seconds, 64, scripts["zipf"]))
    if name == "miss":
        salt = scripts["salt"] = scripts["salt"] + 1
        path = servers.write(scripts["miss"], load.MISS_LUA % {"salt": salt})
        return load.measured(server, lambda: load.wrk(plain, seconds, 64, path))
    if name == "handshake":
        return load.measured(server, lambda: load.handshakes(tls + "/1k", seconds))
    if name == "resumed":
        return load.measured(
            server, lambda: load.wrk(tls + "/1k", seconds, 32, scripts["close"]))
    base = tls if name.startswith("tls_") else plain
    connections = 8 if size == "/10m" else 64
    return load.measured(server, lambda: load.wrk(base + size, seconds, connections))


def warm(server, name, scripts):
    if name == "zipf":
        load.run(["curl", "-sf", "-o", "/dev/null", "--parallel", "--parallel-max", "8",
                  f"http://127.0.0.1:{server.port}/zipf/[1-{ZIPF_COUNT}]"])
    elif name != "miss":
        workload(name, server, 1, scripts)


def fits(kind, name):
    _, needs_tls, needs_h2, _, _ = WORKLOADS[name]
    floorless = kind.name == "floor" and not name.startswith("h1_")
    return (kind.tls or not needs_tls) and (kind.h2 or not needs_h2) and not floorless


def measure(options, work, kinds, common, keep):
    scripts = {"zipf": servers.write(f"{work}/zipf.lua", load.ZIPF_LUA % {"count": ZIPF_COUNT}),
               "close": servers.write(f"{work}/close.lua", load.CLOSE_LUA),
               "miss": f"{work}/miss.lua", "salt": int(time.time())}
    running = []
    try:
        for kind in kinds:
            try:
                running.append(kind(work, common).start())
            except RuntimeError as error:
                print(error, file=sys.stderr)
        for name in options.only:
            turns = [server for server in running if fits(server, name)]
            keep({name: compare(options, name, turns, scripts)}, "results")
    finally:
        for server in running:
            server.stop()


def compare(options, name, turns, scripts):
    """All servers in turn, in every round."""
    unit = WORKLOADS[name][0]
    rounds = {}
    for at in range(options.rounds):
        for server in turns:
            try:
                if at == 0:
                    warm(server, name, scripts)
                got = workload(name, server, options.seconds, scripts)
                rounds.setdefault(server.name, []).append(got)
            except Exception as error:  # one server's trouble is a hole in the table
                print(f"{name} {server.name}: {error}", file=sys.stderr)
    key = "gbps" if unit == "GB" else "rps"
    found = {who: {"median": statistics.median(run[key] for run in runs),
                   "rounds": [round(run[key], 3) for run in runs]}
             for who, runs in rounds.items()}
    print(chart.row(name, unit, found, WORKLOADS[name][3:]), flush=True)
    return found


def measure_extras(options, work, kinds, common, results, keep):
    def say(text):
        print(text, flush=True)
    all_kinds, kinds = kinds, [kind for kind in kinds if kind.name != "floor"]
    seconds, turns = options.seconds, options.turns
    todo = {
        "latency": lambda: extras.latency(
            all_kinds, work, common, turns, seconds, results, say),
        "storm": lambda: extras.storm(kinds, work, common, turns, seconds, results, say),
        "disk_hits": lambda: extras.disk_hits(kinds, work, common, seconds, say),
        "two_cores": lambda: extras.two_cores(kinds, work, common, seconds, say),
        "idle": lambda: extras.idle(kinds, work, common, options.idle, say),
        "small": lambda: extras.small(kinds, work, common, options.objects, say),
        "start_up": lambda: extras.start_up(kinds, work, common, options.objects, say),
    }
    for name in options.extras:
        keep({name: todo[name]()}, "extras")


def saved(path):
    try:
        with open(path) as old:
            return json.load(old)
    except (OSError, ValueError):
        return {}


class Report:
    """results.json and the chart, written after every row: a run that is cut off keeps what it
    has measured. Rows are measured apart from each other: each says when and how."""

    def __init__(self, options):
        self.out, self.rounds, self.seconds = options.out, options.rounds, options.seconds
        self.kept = dict({"results": {}, "extras": {}, "measured": {}},
                         **saved(os.path.join(self.out, "results.json")))

    def keep(self, rows, part):
        date = time.strftime("%Y-%m-%d %H:%M")
        self.kept[part].update(rows)
        how = {"date": date, "rounds": self.rounds, "seconds": self.seconds}
        self.kept["measured"].update({name: how for name in rows})
        self.kept.update(date=date, machine=machine())
        os.makedirs(self.out, exist_ok=True)
        servers.write(os.path.join(self.out, "results.json"), json.dumps(self.kept, indent=1))
        servers.write(os.path.join(self.out, "chart.svg"),
                      chart.svg(self.kept["results"], WORKLOADS))


def machine():
    """What the figures were measured on."""
    with open("/proc/cpuinfo") as info:
        models = [line.split(":", 1)[1].strip() for line in info if line.startswith("model name")]
    return {"processor": models[0] if models else "", "cores": len(models),
            "kernel": os.uname().release, "load": [round(load, 1) for load in os.getloadavg()]}


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(WORKLOADS))
    parser.add_argument("--extras", default=",".join(EXTRAS))
    parser.add_argument("--idle", type=int, default=extras.IDLE)
    parser.add_argument("--objects", type=int, default=extras.OBJECTS)
    parser.add_argument("--servers", default="brink,floor," + ",".join(PEERS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--turns", type=int, default=7,
                        help="rounds of the two extras about latency")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--install", action="store_true")
    parser.add_argument("--brink", default=os.path.join(ROOT, "target/release/brink"))
    parser.add_argument("--floor", default=os.path.join(ROOT, "target/release/examples/floor"))
    parser.add_argument("--pace", default=os.path.join(ROOT, "target/release/examples/pace"))
    parser.add_argument("--ports", type=int, default=0, help="added to every port")
    parser.add_argument("--work", help="directory for what the servers write, by default /tmp")
    parser.add_argument("--out", default=os.path.join(ROOT, "benches/peers"))
    options = parser.parse_args()
    options.only = [name for name in options.only.split(",") if name != "none"]
    options.extras = [name for name in options.extras.split(",") if name != "none"]
    servers.shift(options.ports)
    if options.quick:
        options.rounds, options.seconds, options.extras = 1, 2, []
    if options.install:
        subprocess.run(["apt-get", "install", "-y", "--no-install-recommends"] + PACKAGES,
                       check=True)
    # Ended from outside, it still stops the servers it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    report = Report(options)
    with tempfile.TemporaryDirectory(prefix="peers-", dir=options.work) as work:
        os.chmod(work, 0o755)
        common = {"files": make_files(work), "tls": make_certificate(work),
                  "brink": os.path.abspath(options.brink),
                  "floor": os.path.abspath(options.floor),
                  "pace": os.path.abspath(options.pace)}
        wanted = options.servers.split(",")
        kinds = [kind for kind in servers.ALL if kind.name in wanted]
        origin = servers.Origin(work, common).start(cores="1")
        try:
            report.kept["versions"] = {
                kind.name: kind.version() for kind in kinds if kind.version()}
            if options.only:
                measure(options, work, kinds, common, report.keep)
            measure_extras(options, work, kinds, common, report.kept["results"], report.keep)
        finally:
            origin.stop()


if __name__ == "__main__":
    main()
