"""What is not work per CPU-second: latency under load, misses beside hits, idle connections,
many small objects, disk hits, two cores. Each returns plain numbers and prints a line."""

import os
import resource
import shutil
import socket
import ssl
import statistics
import subprocess
import time

import load
import servers

IDLE = 10_000
OBJECTS = 1_000_000
DISK_OBJECTS = 4_000  # of 64 KiB: four times the memory that the disk runs are given


MADE = []  # servers that may be running


def started(kind, work, common, **more):
    """A server of its own for one measurement, with an empty directory."""
    shutil.rmtree(os.path.join(work, kind.name), ignore_errors=True)
    MADE.append(kind(work, dict(common, **more)))
    return MADE[-1]


def each(kinds, measure, say):
    """Runs `measure` for every kind; one server's trouble is a hole in the table."""
    found = {}
    for kind in kinds:
        try:
            found[kind.name] = measure(kind)[0]
            say(f"  {kind.name}: {found[kind.name]}")
        except Exception as error:
            say(f"  {kind.name}: {error}")
        finally:
            while MADE:
                MADE.pop().stop()
    return found


def in_turns(kinds, work, common, rounds, measure, say):
    """Starts every kind and runs `measure(server)` for each in turn, in every round, so that
    what disturbs the machine disturbs all of them alike; the runs of each, by its name."""
    servers_up, found = [], {}
    for kind in kinds:
        try:
            servers_up.append(started(kind, work, common).start())
            load.wrk(f"http://127.0.0.1:{servers_up[-1].port}/1k", 1, 8)
        except RuntimeError as error:
            say(f"  {error}")
    for _ in range(rounds):
        for server in servers_up:
            try:
                found.setdefault(server.name, []).append(measure(server))
            except Exception as error:  # one server's trouble is a hole in the table
                say(f"  {server.name}: {error}")
    while MADE:
        MADE.pop().stop()
    return found


def middle(runs, key):
    return statistics.median(run[key] for run in runs)


def capacity(results, row, name, otherwise):
    return results.get(row, {}).get(name, {}).get("median", otherwise)


def latency(kinds, work, common, rounds, seconds, results, say):
    """Quantiles of cached 1 KiB at 70 % of what one core did in this run, and at one rate for
    all of them, which is 70 % of the best peer. The floor's are what machine and generator add.
    `reached` is what the generator sent, which its own core bounds."""
    rates = {kind.name: int(0.7 * capacity(results, "h1_1k", kind.name, 40_000))
             for kind in kinds}
    same = max((rate for name, rate in rates.items() if name not in ("brink", "floor")),
               default=40_000)
    rates["floor"] = rates.get("brink", same)

    def measure(server):
        return {name: load.paced(common["pace"], server.port, "/1k", seconds, rate)
                for name, rate in (("own", rates[server.name]), ("same", same))}
    say("latency at 70 % of capacity")
    found = {}
    for name, runs in in_turns(kinds, work, common, rounds, measure, say).items():
        found[name] = {}
        for how in ("own", "same"):
            each_run = [run[how] for run in runs]
            found[name][how] = {
                "rate": rates[name] if how == "own" else same,
                "reached": middle(each_run, "rate"), "p50_us": middle(each_run, "p50_us"),
                "p99_us": middle(each_run, "p99_us"),
                "p99_us_runs": [run["p99_us"] for run in each_run]}
        say(f"  {name}: {found[name]}")
    return found


def storm(kinds, work, common, rounds, seconds, results, say):
    """p99 of hits at a fifth of capacity, quiet and beside misses at a third of what this
    server can do of them, one right after the other; the median of the ratios."""
    def measure(server):
        hits = int(0.2 * capacity(results, "h1_1k", server.name, 40_000))
        misses = int(0.33 * capacity(results, "miss", server.name, 10_000))
        base = f"http://127.0.0.1:{server.port}"
        quiet = load.paced(common["pace"], server.port, "/1k", seconds, hits)
        salt = time.time_ns()
        targets = servers.write(f"{work}/misses", "".join(
            f"{base}/miss/{salt}/{n}\n" for n in range(misses * (seconds + 4))))
        beside = subprocess.Popen(
            ["taskset", "-c", "1", "h2load", "--h1", "-t1", "-c16", "-D", str(seconds + 2),
             f"--rps={max(1, misses // 16)}", "-i", targets],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(1)
        stormy = load.paced(common["pace"], server.port, "/1k", seconds, hits)
        beside.wait()
        calm, loud = quiet["p99_us"], stormy["p99_us"]
        return {"hits_per_s": hits, "misses_per_s": misses, "quiet_p99_us": calm,
                "storm_p99_us": loud, "ratio": round(loud / max(1, calm), 2)}
    say("hits beside a storm of misses")
    found = {}
    kinds = [kind for kind in kinds if kind.name != "floor"]
    for name, runs in in_turns(kinds, work, common, rounds, measure, say).items():
        found[name] = {key: middle(runs, key) for key in runs[0]}
        found[name]["ratio_runs"] = [run["ratio"] for run in runs]
        say(f"  {name}: {found[name]}")
    return found


def idle(kinds, work, common, count, say):
    """Resident bytes of each idle TLS connection that has had one answer."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4 * count), hard))
    context = ssl._create_unverified_context()

    def measure(kind):
        server = started(kind, work, common).start()
        connect(server, context, 100, [])
        time.sleep(1)
        before, kept = server.resident(), []
        connect(server, context, min(count, kind.connections_max), kept)
        time.sleep(1)
        each_bytes = (server.resident() - before) // max(1, len(kept))
        for one in kept:
            one.close()
        return {"connections": len(kept), "bytes_each": each_bytes}, server
    say(f"{count} idle TLS connections")
    return each([kind for kind in kinds if kind.tls and kind.name != "floor"], measure, say)


def connect(server, context, count, kept):
    for n in range(count):
        # Several source addresses: servers bound the connections of one.
        tcp = socket.create_connection(("127.0.0.1", server.tls_port), 10,
                                       (f"127.0.0.{2 + n // 1500}", 0))
        one = context.wrap_socket(tcp, server_hostname="localhost")
        one.sendall(b"GET /1k HTTP/1.1\r\nHost: localhost\r\n\r\n")
        got = b""
        while len(got) < 1024:
            more = one.recv(16384)
            if not more:
                raise RuntimeError("closed")
            got += more
        kept.append(one)


def small(kinds, work, common, count, say):
    """Resident bytes beyond body and head of each of very many small objects in memory."""
    def measure(kind):
        server = started(kind, work, common).start()
        fill(server, 1000)
        time.sleep(1)
        before = server.resident()
        stored = fill(server, count)
        time.sleep(1)
        total = (server.resident() - before) // max(1, stored)
        # Body and head as the origin sends them.
        beyond = total - len(get(servers.Origin, "/small/1"))
        return {"objects": stored, "bytes_each": total, "beyond_body_and_head": beyond}, server
    say(f"{count} small objects in memory")
    return each(kinds, measure, say)


def fill(server, count):
    """Asks for `count` different small objects; returns how many were."""
    path = servers.write(os.path.join(server.dir, "fill.lua"), load.FILL_LUA)
    done = 0
    while done < count:
        # wrk counts time, not requests: short runs that go on where the last one ended.
        os.environ["FILL_FROM"] = str(done)
        requests, _, failed = load.wrk(f"http://127.0.0.1:{server.port}", 2, 32, path)
        if failed > requests // 100 or requests == 0:
            raise RuntimeError(f"{failed} of {requests} failed")
        done += requests
    return done


def start_up(kinds, work, common, count, say):
    """Disk bytes an object, seconds until a node that has them on disk listens again, and
    whether its first answer is a hit."""
    def measure(kind):
        server = started(kind, work, common, disk="all", memory="64MiB").start()
        stored = fill(server, count)
        time.sleep(3)
        used = disk_bytes(os.path.join(server.dir, "store"))
        server.stop()
        begun = time.time()
        server.start(settle=0)
        seconds = time.time() - begun
        first = get(server, f"/small/{stored}")
        return {"objects": stored, "disk_bytes_each": used // stored,
                "start_up_s": round(seconds, 2), "first_is_hit": b"; hit" in first}, server
    say(f"{count} small objects on disk")
    return each([kind for kind in kinds if kind.name == "brink"], measure, say)


def get(server, target):
    with socket.create_connection(("127.0.0.1", server.port), 10) as one:
        one.sendall(f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n\r\n".encode())
        return one.recv(4096)


def disk_bytes(path):
    text = subprocess.run(["du", "-s", "-B1", path], capture_output=True, text=True).stdout
    return int(text.split()[0])


def disk_hits(kinds, work, common, seconds, say):
    """Objects of 64 KiB asked for at random, four times as many as memory holds, all of them
    on disk and in the page cache: requests per CPU-second."""
    script = servers.write(f"{work}/disk.lua", load.DISK_LUA % {"count": DISK_OBJECTS})

    def measure(kind):
        server = started(kind, work, common, disk="all", memory="64MiB").start()
        plain = f"http://127.0.0.1:{server.port}"
        for _ in range(2):
            load.run(["curl", "-sf", "-o", "/dev/null", "--parallel", "--parallel-max", "8",
                      f"{plain}/disk/[1-{DISK_OBJECTS}]"])
            time.sleep(2)
        got = load.measured(server, lambda: load.wrk(plain, seconds, 32, script))
        return {"rps": round(got["rps"]), "gbps": round(got["gbps"], 2)}, server
    say("disk hits, 64 KiB")
    return each([kind for kind in kinds if kind.disk], measure, say)


def two_cores(kinds, work, common, seconds, say):
    """Cached 1 KiB with one thread and with two. The generator needs a core of its own, so
    the second thread's gain is seen in the work of each CPU-second, not in the clock."""
    def measure(kind):
        per = {}
        for threads, cores in ((1, "0"), (2, "0,1")):
            server = started(kind, work, common, threads=threads).start(cores)
            url = f"http://127.0.0.1:{server.port}/1k"
            load.wrk(url, 1, 64)
            runs = [load.measured(server, lambda: load.wrk(url, seconds, 64))["rps"]
                    for _ in range(3)]
            per[threads] = sorted(runs)[1]
            if threads == 1:
                server.stop()
        return {"one": round(per[1]), "two": round(per[2]),
                "gain": round(2 * per[2] / per[1], 2)}, server
    say("two cores")
    return each([kind for kind in kinds if kind.name == "brink"], measure, say)
