"""Drives one workload against one server and measures work per CPU-second of the server."""

import json
import re
import subprocess
import time

ZIPF_LUA = """
-- Zipf over %(count)d objects by inversion of the cumulated weights.
local total, cumulated = 0, {}
for i = 1, %(count)d do total = total + 1 / i ^ 0.9; cumulated[i] = total end
local made = {}
init = function() -- wrk has set Host by then
  for i = 1, %(count)d do made[i] = wrk.format("GET", "/zipf/" .. i) end
end
math.randomseed(7)
request = function()
  local aim, low, high = math.random() * total, 1, %(count)d
  while low < high do
    local middle = math.floor((low + high) / 2)
    if cumulated[middle] < aim then low = middle + 1 else high = middle end
  end
  return made[low]
end
"""

MISS_LUA = """
local n, from = 0, %(salt)d
request = function() n = n + 1; return wrk.format("GET", "/miss/" .. from .. "/" .. n) end
"""

FILL_LUA = """
-- Every request another small object, from where the run before ended.
local n = tonumber(os.getenv("FILL_FROM")) or 0
request = function() n = n + 1; return wrk.format("GET", "/small/" .. n) end
"""

DISK_LUA = """
math.randomseed(7)
request = function() return wrk.format("GET", "/disk/" .. math.random(%(count)d)) end
"""

CLOSE_LUA = """
wrk.headers["Connection"] = "close"
"""


def run(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout[-500:]}{done.stderr[-500:]}")
    return done.stdout


def wrk(url, seconds, connections, script=None, core="1"):
    """Requests, bytes and errors of one run."""
    command = ["taskset", "-c", core, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s",
               "--latency", "--timeout", "10s"]
    if script:
        command += ["-s", script]
    text = run(command + [url])
    requests, amount = re.search(r"(\d+) requests in [\d.]+\w+, ([\d.]+\w+) read", text).groups()
    errors = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    socket = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    failed = int(errors.group(1)) if errors else 0
    if socket and not script_closes(script):
        failed += sum(map(int, socket.groups()))
    return int(requests), in_bytes(amount), failed


def script_closes(script):
    """wrk counts the close after an answer as a read error."""
    return script is not None and "close" in script


def h2load(url, seconds, connections, streams, core="1"):
    command = ["taskset", "-c", core, "h2load", "-t1", f"-c{connections}", f"-m{streams}",
               "-D", str(seconds), "--warm-up-time", "1", url]
    text = run(command)
    done = int(re.search(r"(\d+) succeeded", text).group(1))
    failed = int(re.search(r"(\d+) failed", text).group(1))
    amount = int(re.search(r"traffic: [\d.]+\w+ \((\d+)\) total", text).group(1))
    return done, amount, failed


def handshakes(url, seconds, core="1"):
    """Full TLS handshakes, each with one small answer. h2load makes every connection anew;
    wrk offers the session of the one before, so what it measures are resumptions."""
    until, done, amount, failed = time.time() + seconds, 0, 0, 0
    while time.time() < until:
        text = run(["taskset", "-c", core, "h2load", "--h1", "-t1", "-n200", "-c200", url])
        done += int(re.search(r"(\d+) succeeded", text).group(1))
        failed += int(re.search(r"(\d+) failed", text).group(1))
        amount += int(re.search(r"traffic: [\d.]+\w+ \((\d+)\) total", text).group(1))
    return done, amount, failed


def paced(pace, port, target, seconds, rate, core="1"):
    """Quantiles of latency at a fixed rate, measured from when each request was due, and the
    rate that was reached."""
    return json.loads(run(["taskset", "-c", core, pace, str(port), target, str(rate),
                           str(seconds), "64"]))


def in_bytes(text):
    number, unit = re.match(r"([\d.]+)([kKMGT]?)B", text).groups()
    return float(number) * {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}[unit]


def measured(server, load):
    """Runs `load` and returns what it did for each CPU-second of the server."""
    before = server.cpu_seconds()
    requests, amount, failed = load()
    spent = server.cpu_seconds() - before
    if failed > max(10, requests // 1000):
        raise RuntimeError(f"{server.name}: {failed} of {requests} failed")
    return {"requests": requests, "bytes": amount, "cpu": spent,
            "rps": requests / spent, "gbps": amount / spent / 1e9}
