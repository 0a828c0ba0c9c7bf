#!/usr/bin/env python3
"""How long a purge takes to be in effect with a full cache under load, over the sockets.

    tests/proof/purge_latency.py [--brink target/release/brink] [--objects 1000000]
                                 [--purges 1000] [--rate 20] [--json]

nginx answers with small objects, each with one of 1,000 tags; wrk fills the cache with a
million of them, and then asks for a hot set as fast as it can while purges by tag are made
at a steady rate. A purge's time is that of the whole call over HTTP, from the first byte
sent to the last byte received, so it is never better than what an operator sees; the node's
own figure is shown beside it. After every call an object with the tag is asked for that
nobody else asks for: the answer must not be a hit. At the end everything is purged and the sweep is waited for.
"""

import argparse
import http.client
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

NGINX, PLAIN, ADMIN = 9580, 9581, 9582
TAGS = 1000

NGINX_CONF = """
daemon off; worker_processes 1; pid {work}/pid; error_log {work}/error;
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_requests 1000000;
  client_body_temp_path {work}/b; proxy_temp_path {work}/p; fastcgi_temp_path {work}/f;
  uwsgi_temp_path {work}/u; scgi_temp_path {work}/s;
  map $uri $tag {{ "~^/o/(?<n>[0-9]+)/" "tag-$n"; default "none"; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      add_header Cache-Control "max-age=36000"; add_header Surrogate-Key "all $tag";
      return 200 "{body}";
    }}
  }}
}}
"""

FILL_LUA = """
local n = %(first)d - 1
request = function()
  n = n + 1
  return wrk.format("GET", "/o/" .. n %% %(tags)d .. "/" .. n)
end
"""

HOT_LUA = """
local made = {}
init = function()
  for i = 1, 2000 do
    local n = i * 37 + 500
    made[i] = wrk.format("GET", "/o/" .. (n %% %(tags)d) .. "/" .. n)
  end
end
local at = 0
request = function() at = at %% 2000 + 1; return made[at] end
"""


def wait_port(port):
    for _ in range(600):
        try:
            http.client.HTTPConnection("127.0.0.1", port, timeout=5).connect()
            return
        except OSError:
            time.sleep(0.05)
    sys.exit(f"nothing listens on {port}")


class Admin:
    def __init__(self, token):
        self.token = token
        self.connection = http.client.HTTPConnection("127.0.0.1", ADMIN, timeout=60)

    def call(self, method, path, body=None):
        headers = {"Authorization": f"Bearer {self.token}"}
        try:
            self.connection.request(method, path, body and json.dumps(body), headers)
            response = self.connection.getresponse()
        except (http.client.RemoteDisconnected, BrokenPipeError):
            # The node closes connections that rest.
            self.connection.close()
            self.connection.request(method, path, body and json.dumps(body), headers)
            response = self.connection.getresponse()
        answer = json.loads(response.read())
        if response.status >= 300:
            sys.exit(f"{method} {path}: {response.status} {answer}")
        return answer


def wrk(script, work, seconds, connections=32):
    path = os.path.join(work, f"{abs(hash(script))}.lua")
    with open(path, "w") as file:
        file.write(script)
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", path,
               f"http://127.0.0.1:{PLAIN}"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def fill(admin, work, objects):
    first = 0
    while True:
        held = admin.call("GET", "/v1/stats")["memory"]["objects"]
        print(f"{held} objects stored", file=sys.stderr)
        if held >= objects:
            return held
        report = wrk(FILL_LUA % {"first": first, "tags": TAGS}, work, 10).communicate()[0]
        first += int(re.search(r"(\d+) requests in", report).group(1))


def quantile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def purge_all(admin, token, options):
    """Purges by tag at a steady rate; times in milliseconds, and answers that were hits."""
    client = http.client.HTTPConnection("127.0.0.1", PLAIN, timeout=30)
    times, told, wrong = [], [], 0
    started = time.monotonic()
    for number in range(options.purges):
        due = started + number / options.rate
        time.sleep(max(0.0, due - time.monotonic()))
        tag = number * 7 % TAGS
        before = time.perf_counter()
        answer = admin.call("POST", "/v1/purge", {"tags": [f"tag-{tag}"], "wait_ms": 0})
        times.append((time.perf_counter() - before) * 1000)
        told.append(answer["effective_ms"])
        client.request("GET", f"/o/{tag}/{tag + TAGS * 100}")
        response = client.getresponse()
        response.read()
        wrong += "; hit" in response.getheader("Cache-Status", "")
    return times, told, wrong


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--brink", default="target/release/brink")
    arguments.add_argument("--objects", type=int, default=1_000_000)
    arguments.add_argument("--purges", type=int, default=1000)
    arguments.add_argument("--rate", type=float, default=20)
    arguments.add_argument("--disk", help="a directory on disk for a disk tier")
    arguments.add_argument("--json", action="store_true")
    options = arguments.parse_args()
    work = tempfile.mkdtemp(prefix="brink-purge-")
    running = []
    try:
        os.chmod(work, 0o755)
        with open(f"{work}/nginx.conf", "w") as file:
            file.write(NGINX_CONF.format(work=work, port=NGINX, body="x" * 200))
        running.append(subprocess.Popen(["nginx", "-c", f"{work}/nginx.conf"]))
        command = [options.brink, "run", "--origin", f"http://127.0.0.1:{NGINX}",
                   "--listen", f"127.0.0.1:{PLAIN}", "--admin", f"127.0.0.1:{ADMIN}",
                   "--admin-token-file", f"{work}/token", "--memory", "6GiB"]
        if options.disk:
            command += ["--disk", options.disk, "--disk-size", "8GiB"]
        running.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))
        wait_port(ADMIN)
        wait_port(NGINX)
        with open(f"{work}/token") as file:
            token = file.read().strip()
        admin = Admin(token)
        held = fill(admin, work, options.objects)
        seconds = int(options.purges / options.rate) + 6
        load = wrk(HOT_LUA % {"tags": TAGS}, work, seconds)
        time.sleep(3)
        times, told, wrong = purge_all(admin, token, options)
        report = load.communicate()[0]
        rate = next(line for line in report.splitlines() if "Requests/sec" in line).split()[1]
        last = admin.call("POST", "/v1/purge", {"everything": True, "wait_ms": 30000})
        result = {
            "objects": held, "requests_per_second": float(rate), "purges": len(times),
            "call_ms": {name: round(quantile(times, q), 2)
                        for name, q in [("p50", 0.5), ("p99", 0.99), ("max", 1.0)]},
            "effective_ms": {name: round(quantile(told, q), 3)
                             for name, q in [("p50", 0.5), ("p99", 0.99), ("max", 1.0)]},
            "hits_after_purge": wrong,
            "everything": last,
        }
        print(json.dumps(result, indent=2) if options.json else json.dumps(result))
        return 1 if wrong else 0
    finally:
        for process in reversed(running):
            process.terminate()
            process.wait()
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
