#!/usr/bin/env bash
# slowhttptest (Debian) in its three modes, 600 connections each, with a well-behaved client
# beside them: tests/proof/slowhttptest.sh [BRINK]
#
# For each mode: how the slow connections ended, requests and failures and 95th percentile of
# the good client, and how much resident memory grew. Two minutes.
set -eu
brink=$(realpath "${1:-target/release/brink}")
work=$(mktemp -d)
trap 'kill $origin $node 2>/dev/null; rm -rf "$work"' EXIT
port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
cd "$work"
mkdir site && echo hello >site/small && head -c 4000000 /dev/urandom >site/large
first=$(port) second=$(port)
python3 -m http.server "$first" --bind 127.0.0.1 --directory site >/dev/null 2>&1 &
origin=$!
"$brink" run --origin "http://127.0.0.1:$first" --listen "127.0.0.1:$second" >/dev/null 2>node &
node=$!
until grep -q ready node; do kill -0 $node; sleep 0.1; done
good() {
    python3 - "$second" "$1" <<'EOT'
import http.client, sys, time
port, seconds = int(sys.argv[1]), float(sys.argv[2])
times, failed, end, peer = [], 0, time.time() + seconds, None
while time.time() < end:
    begun = time.perf_counter()
    try:
        peer = peer or http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        peer.request("GET", "/small")
        answer = peer.getresponse()
        failed += (answer.status, answer.read()) != (200, b"hello\n")
    except (OSError, http.client.HTTPException):
        failed, peer = failed + 1, None
    times.append(time.perf_counter() - begun)
    time.sleep(0.005)
times.sort()
print(f"good client: {len(times)} requests, {failed} failed,"
      f" p95 {1000 * times[int(len(times) * 0.95)]:.2f} ms")
EOT
}
resident() { awk '/VmRSS/ { print int($2 / 1024) }' "/proc/$node/status"; }
python3 -c "import urllib.request as u; [u.urlopen('http://127.0.0.1:$second/' + n).read() for n in ('small', 'large')]"
echo "quiet"
good 5
for mode in "-H" "-B -s 8192" "-X -w 512 -y 1024 -n 5 -z 32 -k 1"; do
    echo "slowhttptest $mode"
    before=$(resident)
    # shellcheck disable=SC2086
    timeout 60 slowhttptest $mode -c 600 -r 200 -i 5 -l 25 -p 3 -x 24 \
        -u "http://127.0.0.1:$second/large" >report 2>&1 &
    slow=$!
    sleep 4
    good 15
    grown=$(($(resident) - before))
    wait $slow || true
    sed 's/\x1b\[[0-9;]*m//g' report | grep -aE "^(initializing|pending|connected|error|closed|service)" | tail -n 6
    echo "memory: +$grown MiB"
    kill -0 $node
done
