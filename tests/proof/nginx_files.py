#!/usr/bin/env python3
"""Brink in front of Debian's nginx with thousands of real files, checked byte for byte.

    tests/proof/nginx_files.py [--brink target/release/brink] [--files 2500] [--tree /usr/share]

Takes real files from the machine's documentation tree, serves them by nginx as Debian
ships it (no cache headers added: Last-Modified and ETag only), and fetches all of them
through Brink twice by curl: HTTP/1.1 in the clear, HTTP/1.1 and HTTP/2 over TLS, each on
a cold node and then warm. Every body is compared by SHA-256 with its file, every second
answer must be a hit, and nginx's own log must show each file asked for exactly once.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.parse

NGINX, PLAIN, TLS = 9480, 9481, 9482

NGINX_CONF = """
daemon off; worker_processes 1; pid {work}/pid; error_log {work}/error;
events {{ worker_connections 1024; }}
http {{
  include /etc/nginx/mime.types; default_type application/octet-stream; sendfile on;
  log_format line '$request_method $request_uri $status'; access_log {work}/access line;
  client_body_temp_path {work}/b; proxy_temp_path {work}/p; fastcgi_temp_path {work}/f;
  uwsgi_temp_path {work}/u; scgi_temp_path {work}/s;
  server {{ listen 127.0.0.1:{port}; root {work}/files; }}
}}
"""


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def gather(tree, wanted, into):
    """Copies `wanted` regular files with their times; returns path -> hash."""
    found = {}
    for here, folders, names in os.walk(tree):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(here, name)
            if os.path.islink(path) or not os.path.isfile(path):
                continue
            if not 0 < os.path.getsize(path) < 8 << 20 or name.startswith("index."):
                continue
            relative = os.path.relpath(path, tree)
            target = os.path.join(into, relative)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.copy2(path, target)
            os.chmod(target, 0o644)
            found[relative] = digest(target)
            if len(found) == wanted:
                return found
    return found


def lines_of(path):
    with open(path) as file:
        return file.read().splitlines()


def wait_for(path, text, process):
    deadline = time.time() + 30
    while time.time() < deadline and process.poll() is None:
        if any(text in line for line in lines_of(path)):
            return
        time.sleep(0.05)
    sys.exit(f"not started: {lines_of(path)}")


def fetch(work, name, base, options, files):
    """One pass over all files; returns how many answers are wrong and how many hits."""
    out = os.path.join(work, "out")
    shutil.rmtree(out, ignore_errors=True)
    os.makedirs(out)
    lines = []
    for number, path in enumerate(files):
        url = base + "/" + urllib.parse.quote(path)
        lines += [f'url = "{url}"', f'output = "{out}/{number}"']
    config = os.path.join(work, "urls")
    with open(config, "w") as file:
        file.write("\n".join(lines))
    shown = "%{http_code} %{http_version} %header{cache-status}\\n"
    command = ["curl", "-s", "-k", "-g", "--path-as-is", "-K", config, "-w", shown] + options
    start = time.time()
    answers = subprocess.run(command, capture_output=True, text=True).stdout.splitlines()
    wrong = [path for number, (path, wanted) in enumerate(files.items())
             if not os.path.exists(f"{out}/{number}") or digest(f"{out}/{number}") != wanted]
    hits = sum("; hit" in line for line in answers)
    good = sum(line.startswith("200 ") for line in answers)
    versions = ",".join(sorted({line.split(" ")[1] for line in answers}))
    print(f"{name:16} {len(answers)} answers, {good} with 200, HTTP/{versions}, "
          f"{hits} hits, {len(wrong)} bodies differ, {time.time() - start:.1f} s", flush=True)
    for path in wrong[:5]:
        print("   differs:", path)
    return len(wrong) + abs(len(files) - good), hits


def mode(work, brink, name, base, options, files):
    """Cold and warm on a fresh node. Returns the number of broken promises."""
    before = len(lines_of(f"{work}/access"))
    with open(f"{work}/brink", "w") as out:
        node = subprocess.Popen(
            [brink, "run", "--origin", f"http://127.0.0.1:{NGINX}", "--listen",
             f"127.0.0.1:{PLAIN}", "--listen-tls", f"127.0.0.1:{TLS}", "--memory", "1GiB"],
            stdout=subprocess.DEVNULL, stderr=out)
    try:
        wait_for(f"{work}/brink", "ready", node)
        cold, cold_hits = fetch(work, name + " cold", base, options, files)
        asked_cold = len(lines_of(f"{work}/access")) - before
        warm, warm_hits = fetch(work, name + " warm", base, options, files)
        asked_warm = len(lines_of(f"{work}/access")) - before - asked_cold
    finally:
        node.terminate()
        node.wait(60)
    print(f"{name:16} nginx was asked {asked_cold} times cold, {asked_warm} times warm")
    broken = cold + warm + cold_hits + (len(files) - warm_hits)
    return broken + abs(asked_cold - len(files)) + asked_warm


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--brink", default="target/release/brink")
    parser.add_argument("--files", type=int, default=2500)
    parser.add_argument("--tree", default="/usr/share")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="proof-") as work:
        os.chmod(work, 0o755)
        files = gather(options.tree, options.files, f"{work}/files")
        for here, _, _ in os.walk(f"{work}/files"):
            os.chmod(here, 0o755)
        size = sum(os.path.getsize(f"{work}/files/{path}") for path in files)
        print(f"{len(files)} files, {size / 1e6:.1f} MB")
        with open(f"{work}/nginx.conf", "w") as out:
            out.write(NGINX_CONF.format(work=work, port=NGINX))
        nginx = subprocess.Popen(["nginx", "-c", f"{work}/nginx.conf"])
        try:
            time.sleep(0.5)
            plain, tls = f"http://127.0.0.1:{PLAIN}", f"https://127.0.0.1:{TLS}"
            brink = os.path.abspath(options.brink)
            many = ["--http2", "--parallel", "--parallel-max", "20"]
            broken = mode(work, brink, "h1 plain", plain, ["--http1.1"], files)
            broken += mode(work, brink, "h1 tls", tls, ["--http1.1"], files)
            broken += mode(work, brink, "h2 tls", tls, many, files)
        finally:
            nginx.terminate()
            nginx.wait(10)
    print("all promises kept" if broken == 0 else f"{broken} promises broken")
    sys.exit(0 if broken == 0 else 1)


if __name__ == "__main__":
    main()
