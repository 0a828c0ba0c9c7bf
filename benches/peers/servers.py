"""The servers of the comparison: how each is configured, started and stopped.

Every peer gets its documented fast settings: one worker on one core, memory cache large
enough for the working set, access log off (Brink runs with its log on). nginx is also the
origin. All of them listen on loopback.
"""

import os
import shutil
import signal
import socket
import subprocess
import time

ORIGIN_PORT = 9400


def write(path, text):
    with open(path, "w") as out:
        out.write(text)
    return path


def wait_port(port, process):
    deadline = time.time() + 30
    while time.time() < deadline:
        if process.poll() is not None:
            return False
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return True
        time.sleep(0.05)
    return False


class Server:
    """A running server pinned to one core; its CPU time includes all its children."""

    name = "server"
    port = 0
    tls_port = 0
    tls = True
    h2 = True
    disk = False  # has a disk tier, or is one
    connections_max = 1 << 20

    def __init__(self, work, options):
        self.dir = os.path.join(work, self.name)
        self.options = options
        self.memory = options.get("memory")  # of the memory tier, where a run restricts it
        self.on_disk = "disk" in options
        os.makedirs(self.dir, exist_ok=True)
        os.chmod(self.dir, 0o777)
        self.process = None

    version_command = ()

    @classmethod
    def version(cls):
        """The first line of what it says of itself."""
        if not cls.version_command:
            return None
        done = subprocess.run(cls.version_command, capture_output=True, text=True)
        return (done.stdout + done.stderr).strip().split("\n")[0]

    def command(self):
        raise NotImplementedError

    def environment(self):
        return os.environ.copy()

    def start(self, cores="0", settle=0.5):
        out = open(os.path.join(self.dir, "output"), "ab")
        self.process = subprocess.Popen(
            ["taskset", "-c", cores] + self.command(), stdout=out, stderr=out,
            cwd=self.dir, env=self.environment(), start_new_session=True)
        if not wait_port(self.port, self.process):
            self.stop()
            raise RuntimeError(f"{self.name} did not start, see {self.dir}/output")
        time.sleep(settle)
        return self

    def stop(self):
        if self.process is None:
            return
        for sign, patience in ((signal.SIGTERM, 5), (signal.SIGKILL, 5)):
            try:
                os.killpg(self.process.pid, sign)
                self.process.wait(patience)
                break
            except ProcessLookupError:
                break
            except subprocess.TimeoutExpired:
                continue
        self.process = None

    def pids(self):
        """Its processes: everything in the session it was started in."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/stat") as stat:
                    fields = stat.read().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(fields[3]) == self.process.pid:
                found.append(int(pid))
        return found

    def cpu_seconds(self):
        """User and system time of all threads, in nanosecond resolution."""
        total = 0
        for pid in self.pids():
            try:
                for task in os.listdir(f"/proc/{pid}/task"):
                    with open(f"/proc/{pid}/task/{task}/schedstat") as stat:
                        total += int(stat.read().split()[0])
            except OSError:
                continue
        return total / 1e9

    def resident(self):
        """Resident bytes, shared pages of several processes counted once (PSS)."""
        total = 0
        for pid in self.pids():
            try:
                with open(f"/proc/{pid}/smaps_rollup") as rollup:
                    total += next(int(line.split()[1]) for line in rollup
                                  if line.startswith("Pss:")) * 1024
            except (OSError, StopIteration):
                continue
        return total


NGINX_HEAD = """
daemon off; worker_processes 1; pid {dir}/pid; error_log {dir}/error;
events {{ worker_connections 15000; multi_accept on; }}
http {{
  access_log off; sendfile on; tcp_nopush on; tcp_nodelay on; server_tokens off;
  keepalive_timeout 300; keepalive_requests 100000000; open_file_cache max=20000 inactive=600s;
  open_file_cache_valid 600s; client_body_temp_path {dir}/b; proxy_temp_path {dir}/p;
  fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
"""


class Origin(Server):
    """nginx with the files; every answer may be kept for an hour."""

    name = "origin"
    port = ORIGIN_PORT

    def command(self):
        text = NGINX_HEAD + """
  server {{ listen 127.0.0.1:{port} backlog=4096; root {files};
    add_header Cache-Control "max-age=3600";
    location /small/ {{ return 200 "small object $uri, one of very many, about a hundred bytes of it\\n"; }}
    location /miss/ {{ rewrite ^ /1k break; }}
    location /disk/ {{ rewrite ^ /64k break; }}
  }} }}
"""
        filled = text.format(dir=self.dir, port=self.port, files=self.options["files"])
        return ["nginx", "-c", write(f"{self.dir}/nginx.conf", filled)]


class Nginx(Server):
    """Its cache is files, read through the page cache."""

    name = "nginx"
    version_command = ("nginx", "-v")
    disk = True
    port, tls_port = 9410, 9411

    def command(self):
        text = NGINX_HEAD + """
  ssl_certificate {cert}; ssl_certificate_key {key}; ssl_protocols TLSv1.2 TLSv1.3;
  ssl_session_cache shared:tls:10m;
  proxy_cache_path {dir}/cache levels=1:2 keys_zone=objects:500m max_size=4g inactive=1h use_temp_path=off;
  upstream o {{ server 127.0.0.1:{origin}; keepalive 128; }}
  server {{ listen 127.0.0.1:{port} backlog=4096; listen 127.0.0.1:{tls_port} ssl http2 backlog=4096;
    http2_max_concurrent_streams 128;
    location / {{ proxy_pass http://o; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_cache objects; proxy_cache_lock on; proxy_cache_valid 200 1h; }}
  }} }}
"""
        filled = text.format(dir=self.dir, port=self.port, tls_port=self.tls_port,
                             origin=ORIGIN_PORT, **self.options["tls"])
        return ["nginx", "-c", write(f"{self.dir}/nginx.conf", filled)]


class Haproxy(Server):
    name = "haproxy"
    version_command = ("haproxy", "-v")
    connections_max = 9_800  # two descriptors each, and 20,000 are common
    port, tls_port = 9420, 9421

    def command(self):
        pem = write(f"{self.dir}/pem", open(self.options["tls"]["cert"]).read()
                    + open(self.options["tls"]["key"]).read())
        text = f"""
global
  nbthread 1
  maxconn 9900
  tune.ssl.cachesize 100000
defaults
  mode http
  timeout connect 5s
  timeout client 300s
  timeout server 60s
  http-reuse always
cache a
  total-max-size 2000
  max-object-size 20000000
  max-age 3600
frontend f
  bind 127.0.0.1:{self.port} backlog 4096
  bind 127.0.0.1:{self.tls_port} backlog 4096 ssl crt {pem} alpn h2,http/1.1
  http-request cache-use a
  http-response cache-store a
  default_backend o
backend o
  server s 127.0.0.1:{ORIGIN_PORT}
"""
        return ["haproxy", "-db", "-f", write(f"{self.dir}/conf", text)]


class Varnish(Server):
    """On disk: one mapped file."""

    name = "varnish"
    version_command = ("varnishd", "-V")
    port = 9430
    tls = h2 = False
    disk = True

    def command(self):
        vcl = write(f"{self.dir}/vcl", f"""vcl 4.1;
backend default {{ .host = "127.0.0.1"; .port = "{ORIGIN_PORT}"; }}
""")
        store = f"file,{self.dir}/store,4g" if self.on_disk else "malloc,3g"
        return ["varnishd", "-F", "-n", f"{self.dir}/n", "-j", "none", "-f", vcl,
                "-a", f"127.0.0.1:{self.port}", "-s", store, "-p", "thread_pools=1",
                "-p", "thread_pool_min=200", "-p", "thread_pool_max=5000",
                "-p", "timeout_idle=300", "-p", "listen_depth=4096"]


class Trafficserver(Server):
    name = "trafficserver"
    version_command = ("traffic_server", "-V")
    port, tls_port = 9440, 9441
    disk = True

    def command(self):
        root = f"{self.dir}/root"
        etc = f"{root}/etc"
        if not os.path.exists(root):
            os.makedirs(root)
            shutil.copytree("/etc/trafficserver", etc)
        own = {name: f"{root}/{name}" for name in ("run", "log", "cache", "data", "var")}
        for path in own.values():
            os.makedirs(path, exist_ok=True)
        write(f"{root}/runroot.yaml", f"""prefix: {root}
exec_prefix: /usr
bindir: /usr/bin
sbindir: /usr/sbin
libdir: /usr/lib
libexecdir: /usr/lib/trafficserver/modules
includedir: /usr/include
sysconfdir: {etc}
datadir: {own["data"]}
localstatedir: {own["var"]}
runtimedir: {own["run"]}
logdir: {own["log"]}
cachedir: {own["cache"]}
""")
        lines = f"""
CONFIG proxy.config.exec_thread.autoconfig INT 0
CONFIG proxy.config.exec_thread.limit INT 1
CONFIG proxy.config.exec_thread.affinity INT 0
CONFIG proxy.config.accept_threads INT 0
CONFIG proxy.config.task_threads INT 1
CONFIG proxy.config.http.server_ports STRING {self.port}:ip-in=127.0.0.1 {self.tls_port}:ip-in=127.0.0.1:ssl
CONFIG proxy.config.http.insert_response_via_str INT 0
CONFIG proxy.config.http.keep_alive_no_activity_timeout_in INT 300
CONFIG proxy.config.http.cache.required_headers INT 2
CONFIG proxy.config.http.wait_for_cache INT 1
CONFIG proxy.config.net.connections_throttle INT 60000
CONFIG proxy.config.cache.ram_cache.size INT {64 << 20 if self.on_disk else 3 << 30}
CONFIG proxy.config.cache.ram_cache_cutoff INT 33554432
CONFIG proxy.config.log.logging_enabled INT 0
CONFIG proxy.config.url_remap.remap_required INT 0
CONFIG proxy.config.reverse_proxy.enabled INT 1
CONFIG proxy.config.admin.user_id STRING #-1
CONFIG proxy.config.ssl.server.multicert.filename STRING ssl_multicert.config
"""
        tls = self.options["tls"]
        files = {
            "records.config": lines,
            "storage.config": f"{self.dir}/cache 4G\n",
            "remap.config": f"map / http://127.0.0.1:{ORIGIN_PORT}/\n",
            "ssl_multicert.config":
                f"dest_ip=* ssl_cert_name={tls['cert']} ssl_key_name={tls['key']}\n",
        }
        for name, text in files.items():
            path = f"{etc}/{name}"
            if os.path.lexists(path):
                os.unlink(path)
            write(path, text)
        os.makedirs(f"{self.dir}/cache", exist_ok=True)
        return ["traffic_server"]

    def environment(self):
        return dict(os.environ, TS_RUNROOT=f"{self.dir}/root")


class Squid(Server):
    name = "squid"
    version_command = ("squid", "-v")
    port = 9450
    tls = h2 = False
    disk = True

    def command(self):
        store = f"cache_dir ufs {self.dir}/store 4000 16 256" if self.on_disk else ""
        text = f"""
http_port 127.0.0.1:{self.port} accel defaultsite=site.test no-vhost
cache_peer 127.0.0.1 parent {ORIGIN_PORT} 0 no-query originserver name=o
http_access allow all
icp_port 0
pid_filename {self.dir}/pid
access_log none
cache_log {self.dir}/log
cache_store_log none
coredump_dir {self.dir}
cache_mem {"64 MB" if self.on_disk else "3 GB"}
{store}
memory_cache_shared off
maximum_object_size_in_memory 32 MB
memory_replacement_policy heap GDSF
cache_effective_user proxy
pinger_enable off
shutdown_lifetime 1 second
"""
        if self.on_disk:
            conf = write(f"{self.dir}/conf", text)
            subprocess.run(["squid", "-z", "-N", "-f", conf], check=True, capture_output=True)
        return ["squid", "-N", "-f", write(f"{self.dir}/conf", text)]


class Brink(Server):
    """Default configuration: caches in memory, counts, and logs every exchange to a file."""

    name = "brink"
    port, tls_port = 9460, 9461
    disk = True

    def command(self):
        tls, disk = self.options["tls"], ""
        if self.on_disk:
            disk = f"""[disk]
admit = "all"
write_rate_max = "1GiB"
[[disk.directory]]
path = "{self.dir}/store"
capacity = "8GiB"
"""
        text = f"""
[node]
threads = {self.options.get("threads", 1)}
[[listen]]
addr = "127.0.0.1:{self.port}"
[[listen]]
addr = "127.0.0.1:{self.tls_port}"
tls = true
[[tls.certificate]]
cert = "{tls['cert']}"
key = "{tls['key']}"
[memory]
capacity = "{self.memory or "3GiB"}"
{disk}[log]
access = "{self.dir}/access.log"
format = "json"
[[origin]]
name = "app"
servers = ["http://127.0.0.1:{ORIGIN_PORT}"]
[[site]]
origin = "app"
"""
        write(f"{self.dir}/access.log", "")
        return [self.options["brink"], "run", "--config", write(f"{self.dir}/node.toml", text)]


class Floor(Server):
    """A bare epoll loop that answers fixed bytes: the limit of one core (floor.rs)."""

    name = "floor"
    port = 9470
    tls = h2 = False

    def command(self):
        return [self.options["floor"], str(self.port)]


ALL = [Brink, Nginx, Haproxy, Varnish, Trafficserver, Squid, Floor]
