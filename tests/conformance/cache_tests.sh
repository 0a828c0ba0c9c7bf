#!/usr/bin/env bash
# Runs the public suite http-tests/cache-tests against Brink.
#
#     tests/conformance/cache_tests.sh CHECKOUT [BRINK] [RESULTS.json]
#
# CHECKOUT is a clone of https://github.com/http-tests/cache-tests with `npm install` done.
# The suite's own server is the origin on loopback, Brink with its default rules stands in
# front of it. The suite's server listens on all addresses unless told otherwise, so it is
# started with a host here. About a minute.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
checkout=$(cd "$1" && pwd)
brink=$(realpath "${2:-$here/../../target/release/brink}")
results=$(realpath -m "${3:-$here/cache-tests.json}")
work=$(mktemp -d)
trap 'kill $origin $node 2>/dev/null; rm -rf "$work"' EXIT
cat >"$work/loopback.cjs" <<'EOF'
const net = require('net')
const listen = net.Server.prototype.listen
net.Server.prototype.listen = function (port, ...rest) {
  return typeof port === 'number' || /^\d+$/.test(port)
    ? listen.call(this, Number(port), '127.0.0.1', ...rest.filter((one) => typeof one === 'function'))
    : listen.call(this, port, ...rest)
}
EOF
cd "$checkout"
npm_config_protocol=http npm_config_port=9490 npm_config_pidfile="$work/pid" \
    node -r "$work/loopback.cjs" test-engine/server/server.mjs >"$work/origin" 2>&1 &
origin=$!
"$brink" run --origin http://127.0.0.1:9490 --listen 127.0.0.1:9491 >/dev/null 2>"$work/node" &
node=$!
until grep -q ready "$work/node" && grep -q Listening "$work/origin"; do
    kill -0 $node $origin
    sleep 0.1
done
suite() {
    npm_config_base=http://127.0.0.1:9491 npm_config_id="$1" npm_package_config_id="$1" \
        node --no-warnings test-engine/cli.mjs
}
suite freshness-max-age >/dev/null 2>&1 || true # one test to warm up, as the suite advises
suite "" | sed -n '/^{/,$p' >"$results"
node "$here/summary.mjs" "$checkout" "$results"
