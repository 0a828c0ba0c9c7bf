#!/usr/bin/env python3
"""A real Prometheus scrapes a running node with the files of config/monitoring.

    tests/proof/prometheus.py ADMIN_ADDR TOKEN_FILE

promtool checks the exposition, the alert rules and the configuration; then Prometheus is
started with them, scrapes the node, and must find it up, every rule healthy, and every query
of the Grafana dashboard answerable. Queries without a sample yet are listed, not failed.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

MONITORING = os.path.join(os.path.dirname(__file__), "..", "..", "config", "monitoring")


def read(name):
    with open(os.path.join(MONITORING, name)) as file:
        return file.read()


def promtool(*words, stdin=None):
    done = subprocess.run(["promtool", *words], input=stdin, capture_output=True, text=True)
    print("ok  " if done.returncode == 0 else "FAIL", "promtool", *words[:2])
    if done.returncode != 0:
        print(done.stdout, done.stderr)
    return done.returncode == 0


def main():
    address, token_file = sys.argv[1:]
    with open(token_file) as file:
        token = file.read().split()[-1]
    request = urllib.request.Request(f"http://{address}/metrics",
                                     headers={"Authorization": f"Bearer {token}"})
    text = urllib.request.urlopen(request).read().decode()
    well = promtool("check", "metrics", stdin=text)
    with tempfile.TemporaryDirectory(prefix="brink-prometheus-") as work:
        secret = os.path.join(work, "token")
        with open(secret, "w") as file:
            file.write(token)
        shutil.copy(os.path.join(MONITORING, "alerts.yml"), work)
        config = read("prometheus.yml").replace("127.0.0.1:8090", address)
        config = re.sub(r"credentials_file: \S+", f"credentials_file: {secret} ", config)
        path = os.path.join(work, "prometheus.yml")
        with open(path, "w") as file:
            file.write(config.replace("scrape_interval: 10s", "scrape_interval: 1s"))
        well &= promtool("check", "rules", os.path.join(work, "alerts.yml"))
        well &= promtool("check", "config", path)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        server = subprocess.Popen(
            ["prometheus", f"--config.file={path}", f"--storage.tsdb.path={work}/data",
             f"--web.listen-address=127.0.0.1:{port}"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            well &= look(f"http://127.0.0.1:{port}/api/v1/")
        finally:
            server.terminate()
            server.wait()
    return 0 if well else 1


def look(api):
    def ask(path):
        return json.load(urllib.request.urlopen(api + path, timeout=10))["data"]

    def query(text):
        return ask("query?" + urllib.parse.urlencode({"query": text}))["result"]

    end = time.monotonic() + 60
    up = False
    while not up and time.monotonic() < end:
        time.sleep(1)
        try:
            up = any(float(one["value"][1]) == 1 for one in query('up{job="brink"}'))
        except OSError:
            continue
    print("ok  " if up else "FAIL", "the node is scraped")
    time.sleep(8)
    rules = [rule for group in ask("rules")["groups"] for rule in group["rules"]]
    sick = [rule["name"] for rule in rules if rule["health"] == "err"]
    print("FAIL" if sick else "ok  ", f"{len(rules)} rules are evaluated", *sick)
    bad, empty, count = [], [], 0
    for panel in json.loads(read("grafana.json"))["panels"]:
        for target in panel.get("targets", []):
            text = re.sub(r"\$__rate_interval|\$__interval", "30s", target["expr"])
            text = re.sub(r'=~"\$\w+"', '=~".+"', text)
            count += 1
            try:
                if not query(text):
                    empty.append(panel["title"])
            except OSError as error:
                bad.append(f"{panel['title']}: {text}: {error}")
    print("FAIL" if bad else "ok  ", f"{count} queries of the dashboard are answered", *bad)
    if empty:
        print("     without a sample yet:", ", ".join(empty))
    return up and not sick and not bad


if __name__ == "__main__":
    sys.exit(main())
