"""What the proofs of the disk share: the program before one origin, and its admin API."""

import http.client
import json
import os
import signal
import socket
import subprocess
import time


def free_ports(count):
    probes = [socket.socket() for _ in range(count)]
    [probe.bind(("127.0.0.1", 0)) for probe in probes]
    ports = [probe.getsockname()[1] for probe in probes]
    [probe.close() for probe in probes]
    return ports


class Node:
    """The program with one disk directory; `disk` and `node` are further lines of those
    sections, `store` is where the directory is if not in `work`."""

    def __init__(self, brink, work, origin, memory, capacity, disk="", node="", store=None):
        self.brink, self.work, self.process = brink, work, None
        self.port, self.admin_port = free_ports(2)
        self.store, self.log = store or os.path.join(work, "store"), os.path.join(work, "log")
        self.config = os.path.join(work, "node.toml")
        with open(self.config, "w") as out:
            out.write(f"""
[[listen]]
addr = "127.0.0.1:{self.port}"
[node]
{node}
[memory]
capacity = "{memory}"
[disk]
{disk}
[[disk.directory]]
path = "{self.store}"
capacity = "{capacity}"
[admin]
addr = "127.0.0.1:{self.admin_port}"
token_file = "{work}/token"
[log]
access = "off"
[[origin]]
name = "app"
servers = ["http://127.0.0.1:{origin}"]
[[site]]
origin = "app"
""")

    def launch(self):
        with open(self.log, "a") as log:
            self.process = subprocess.Popen(
                [self.brink, "run", "--config", self.config], stderr=log)

    def start(self):
        """Starts it and waits until the disk has joined."""
        self.launch()
        self.until("the disk has joined", self.is_ready)
        return self

    def stop(self, how=signal.SIGTERM):
        """Its exit code; it is gone in any case."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        return self.process and self.process.returncode

    def until(self, what, holds):
        for _ in range(1_200):
            if self.process.poll() is not None:
                break
            try:
                if holds():
                    return
            except OSError:
                pass
            time.sleep(0.05)
        raise SystemExit(f"in vain: {what}\n{open(self.log).read()}")

    def admin(self, method, path, sent=None):
        with open(os.path.join(self.work, "token")) as file:
            token = file.read().split()[-1]
        wire = http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=30)
        fields = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        try:
            wire.request(method, path, sent and json.dumps(sent), fields)
            answer = wire.getresponse()
            return answer.status, answer.read().decode()
        finally:
            wire.close()

    def is_ready(self):
        return self.admin("GET", "/readyz")[0] == 200

    def disk(self):
        return json.loads(self.admin("GET", "/v1/disk")[1])["directories"][0]

    def state(self):
        return self.disk()["state"]

    def count(self, name):
        return self.disk()["counters"][name]

    def resident(self):
        """Bytes of memory it has."""
        with open(f"/proc/{self.process.pid}/status") as status:
            return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmRSS"))
