#!/usr/bin/env python3
"""50 GiB of distinct objects through a 2 GiB disk and 128 MiB of memory.

    tests/proof/soak.py [--brink target/release/brink] [--gib 50] [--disk 2GiB]
                        [--memory 128MiB] [--clients 4] [--dir DIR] [--while FILE]

Half of the requests are for objects that nobody asks for again, half follow a Zipf law over
a catalogue four times the disk. An origin of this script makes the bodies; every byte of
every answer is compared. While it runs the node's resident memory, the bytes of its segment
files and its open files are sampled, with what the node says it holds (`/metrics`). At the
end the trace of requests goes through `brink lab simulate` with the same sizes, and the
node's hit ratio must be within three points of what that says. With `--while FILE` clients
ask only while FILE is there, so that others can measure on the same machine in between.
Exit code 0 if all of it holds. Linux only, a few minutes.
"""

import argparse
import bisect
import json
import multiprocessing
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import zlib

from program import Node

BASE_LEN, SIZE_MIN, SIZE_STEP, STEPS = 32 << 20, 32 << 10, 1024, 384
MEAN = SIZE_MIN + SIZE_STEP * (STEPS - 1) // 2
ZIPF, TOLERANCE, RSS_GROWTH = 0.8, 0.03, 1.05
# The part of the requests after which memory must have come to rest.
WARM = 0.3


def size_of(name):
    return SIZE_MIN + zlib.crc32(b"s%d" % name) % STEPS * SIZE_STEP


def offset_of(name):
    return zlib.crc32(b"o%d" % name) * 7919 % (BASE_LEN - SIZE_MIN - STEPS * SIZE_STEP)


def bytes_of(text):
    units = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
    return int(float(text[:-3]) * units[text[-3:]])


def requests(gib, disk, seed):
    """Names in the order they are asked for, until `gib` GiB of distinct bytes."""
    rng = random.Random(seed)
    catalogue = 4 * disk // MEAN
    weights, total = [], 0.0
    for rank in range(1, catalogue + 1):
        total += rank ** -ZIPF
        weights.append(total)
    order, seen, distinct, fresh = [], set(), 0, catalogue
    while distinct < gib * (1 << 30):
        if rng.random() < 0.5:
            name = fresh
            fresh += 1
        else:
            name = bisect.bisect_left(weights, rng.random() * total)
        order.append(name)
        if name not in seen:
            seen.add(name)
            distinct += size_of(name)
    return order, len(seen), distinct


def origin(listener, base):
    def talk(stream):
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        waiting = b""
        while True:
            while b"\r\n\r\n" not in waiting:
                more = stream.recv(65536)
                if not more:
                    return
                waiting += more
            head, waiting = waiting.split(b"\r\n\r\n", 1)
            name = int(head.split(b" ", 2)[1].rsplit(b"/", 1)[1])
            size, at = size_of(name), offset_of(name)
            stream.sendall(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=86400\r\n"
                           b"Content-Length: %d\r\n\r\n" % size)
            stream.sendall(base[at:at + size])

    while True:
        stream, _ = listener.accept()
        threading.Thread(target=talk, args=(stream,), daemon=True).start()


def wait_for(gate):
    """Waits for the file; true if there was something to wait for."""
    waited = False
    while gate and not os.path.exists(gate):
        waited = True
        time.sleep(0.1)
    return waited


def connect(port):
    stream = socket.create_connection(("127.0.0.1", port))
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return stream


def client(port, order, base, first, step, counts, gate):
    """Asks for every `step`th name; counts requests, hits, wrong answers, bytes."""
    stream = None
    buffer = bytearray(SIZE_MIN + STEPS * SIZE_STEP + 65536)
    view = memoryview(buffer)
    for at in range(first, len(order), step):
        name = order[at]
        # An idle connection may have been closed meanwhile.
        if at // step % 16 == 0 and wait_for(gate) or stream is None:
            stream = connect(port)
        stream.sendall(b"GET /o/%d HTTP/1.1\r\nHost: soak.test\r\n\r\n" % name)
        have, end = 0, -1
        while end < 0:
            got = stream.recv_into(view[have:])
            if not got:
                raise SystemExit(f"the node closed at request {at}")
            have += got
            end = buffer.find(b"\r\n\r\n", 0, have)
        head, start = bytes(view[:end]), end + 4
        size = size_of(name)
        good = head.startswith(b"HTTP/1.1 200") and b"%d\r\n" % size in head + b"\r\n"
        while good and have < start + size:
            got = stream.recv_into(view[have:start + size])
            if not got:
                raise SystemExit(f"the node cut the answer to request {at}")
            have += got
        offset = offset_of(name)
        good = good and view[start:have] == base[offset:offset + size]
        with counts.get_lock():
            counts[0] += 1
            counts[1] += b"; hit" in head
            counts[2] += not good
            counts[3] += size
        if not good:
            raise SystemExit(f"a wrong answer to request {at}: {head!r}")


def told_by(node):
    """What the node says it holds, in MiB."""
    lines = node.admin("GET", "/metrics")[1].splitlines()
    wanted = {"memory": 'brink_cache_bytes{tier="memory"}', "queued": "brink_disk_queued_bytes",
              "index": "brink_disk_index_bytes", "policy": "brink_memory_overhead_bytes",
              "shed": "brink_disk_dropped_total"}
    value = lambda start: next((float(line.rsplit(" ", 1)[1]) for line in lines
                                if line.startswith(start)), 0.0)
    return {name: value(start) / (1 if name == "shed" else 1 << 20)
            for name, start in wanted.items()}


def stored(store):
    files = [os.stat(os.path.join(store, "segments", name))
             for name in os.listdir(os.path.join(store, "segments"))]
    return sum(file.st_size for file in files), sum(file.st_blocks * 512 for file in files)


def simulated(args, work, order):
    trace = os.path.join(work, "trace.csv")
    with open(trace, "w") as file:
        file.write("time,id,size\n")
        file.writelines(f"{at // 1000},{name},{size_of(name)}\n" for at, name in enumerate(order))
    told = subprocess.run(
        [args.brink, "lab", "simulate", trace, "--memory", args.memory, "--disk", args.disk,
         "--policy", "before-disk", "--json"], check=True, capture_output=True, text=True)
    return json.loads(told.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--brink", default="target/release/brink")
    parser.add_argument("--gib", type=float, default=50)
    parser.add_argument("--disk", default="2GiB")
    parser.add_argument("--memory", default="128MiB")
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--while", dest="gate", metavar="FILE", default=None,
                        help="ask only while this file is there")
    parser.add_argument("--dir", default=None, help="where the store is made; else a temporary one")
    args = parser.parse_args()
    disk = bytes_of(args.disk)
    order, objects, distinct = requests(args.gib, disk, args.seed)
    print(f"{len(order)} requests for {objects} objects, {distinct / (1 << 30):.1f} GiB distinct",
          flush=True)
    work = tempfile.mkdtemp(dir=args.dir)
    base = memoryview(random.Random(7).randbytes(BASE_LEN))
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    context = multiprocessing.get_context("fork")
    origins = [context.Process(target=origin, args=(listener, base), daemon=True) for _ in "ab"]
    [one.start() for one in origins]
    ghost = max(1024, 1 << (disk // MEAN - 1).bit_length())
    node = Node(args.brink, work, listener.getsockname()[1], args.memory, args.disk,
                f"ghost_keys = {ghost}").start()
    good = False
    try:
        good = run(args, context, node, (order, base, disk, work))
    finally:
        code = node.stop()
        [one.terminate() for one in origins]
        shutil.rmtree(work, ignore_errors=True)
    sys.exit(0 if good and code == 0 else 1)


def watch(args, node, clients, counts, order):
    """Samples of (share done, resident, segment bytes, blocks, open files) while it runs."""
    samples, asked = [], 0
    while any(one.is_alive() for one in clients):
        time.sleep(0.5)
        if counts[0] == asked and args.gate and not os.path.exists(args.gate):
            continue
        asked = counts[0]
        size, blocks = stored(node.store)
        done = asked / len(order)
        files = len(os.listdir(f"/proc/{node.process.pid}/fd"))
        samples.append((done, node.resident(), size, blocks, files))
        if len(samples) % 40 == 0:
            told = " ".join(f"{name} {value:.0f}" for name, value in told_by(node).items())
            print(f"{done:6.1%} {counts[3] / (1 << 30):6.1f} GiB, {counts[1] / max(asked, 1):.2%}"
                  f" hits, resident {samples[-1][1] >> 20} MiB, disk {size >> 20} MiB; {told}",
                  flush=True)
    return samples


def growth(samples):
    """Resident memory by tenth (median and most, MiB), and how much the second half of what
    follows the warm-up has grown over the first (medians; a queue that fills is no leak)."""
    middle = lambda low, high: statistics.median(
        [one[1] for one in samples if low <= one[0] <= high] or [0])
    tenths = [(middle(n / 10, (n + 1) / 10),
               max((one[1] for one in samples if n / 10 <= one[0] <= (n + 1) / 10), default=0))
              for n in range(10)]
    half = (1 + WARM) / 2
    return tenths, middle(half, 1) / max(middle(WARM, half), 1)


def run(args, context, node, world):
    order, base, disk, work = world
    counts = context.Array("q", 4)
    clients = [context.Process(target=client, args=(node.port, order, base, n, args.clients,
                                                    counts, args.gate))
               for n in range(args.clients)]
    started = time.monotonic()
    [one.start() for one in clients]
    samples = watch(args, node, clients, counts, order)
    took = time.monotonic() - started
    broken = [one.exitcode for one in clients if one.exitcode]
    hit_ratio = counts[1] / max(counts[0], 1)
    tenths, grown = growth(samples)
    most = max(size for _, _, size, *_ in samples)
    blocks = max(one[3] for one in samples)
    wait_for(args.gate)
    told = simulated(args, work, order)
    predicted = prediction(told)
    print(f"{counts[0]} answers, {counts[3] / (1 << 30):.1f} GiB in {took:.0f} s, "
          f"wrong {counts[2]}, clients broken {len(broken)}")
    print("resident memory by tenth, MiB, median/most: "
          + " ".join(f"{round(one) >> 20}/{most >> 20}" for one, most in tenths)
          + f"; after the warm-up it grew by {grown - 1:+.1%}")
    print(f"segment files at most {most >> 20} MiB (blocks {blocks >> 20} MiB) of {disk >> 20} MiB; "
          f"open files at most {max(one[4] for one in samples)}")
    print(f"hit ratio {hit_ratio:.2%}, simulator {predicted:.2%}, "
          f"difference {abs(hit_ratio - predicted) * 100:.2f} points")
    checks = {
        "every answer right": counts[0] == len(order) and counts[2] == 0 and not broken,
        "resident memory flat": grown <= RSS_GROWTH,
        "disk limit kept": most <= disk,
        "hit ratio as simulated": abs(hit_ratio - predicted) <= TOLERANCE,
    }
    for what, holds in checks.items():
        print(f"{'ok' if holds else 'FAILED'}: {what}")
    return all(checks.values())


def prediction(told):
    """The request hit ratio of the one cell of a simulation."""
    total = told["outcomes"][0]["total"]
    return (total["memory_hits"] + total["disk_hits"]) / total["requests"]


if __name__ == "__main__":
    main()
