#!/usr/bin/env bash
# testssl (Debian) against the program: tests/proof/testssl.sh [BRINK]
#
# A throw-away authority signs a certificate for localhost, so that what is left to complain
# about is the program's. Ends with the lines that testssl calls NOT ok; there are none.
# Three minutes.
set -eu
brink=$(realpath "${1:-target/release/brink}")
work=$(mktemp -d)
trap 'kill $origin $node 2>/dev/null; rm -rf "$work"' EXIT
port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
cd "$work"
cat >names <<'EOT'
subjectAltName = DNS:localhost, IP:127.0.0.1
basicConstraints = CA:FALSE
keyUsage = digitalSignature
extendedKeyUsage = serverAuth
crlDistributionPoints = URI:http://localhost/none.crl
EOT
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 \
    -subj "/CN=Throw-away authority" -keyout ca.key -out ca.pem 2>/dev/null
openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
    -subj "/CN=localhost" -keyout site.key -out site.csr 2>/dev/null
openssl x509 -req -in site.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 89 \
    -extfile names -out site.crt 2>/dev/null
cat site.crt ca.pem >chain.pem
mkdir site && echo hello >site/index.html
first=$(port) second=$(port)
python3 -m http.server "$first" --bind 127.0.0.1 --directory site >/dev/null 2>&1 &
origin=$!
"$brink" run --origin "http://127.0.0.1:$first" --listen-tls "127.0.0.1:$second" \
    --cert chain.pem --key site.key >/dev/null 2>node &
node=$!
until grep -q ready node; do kill -0 $node; sleep 0.1; done
testssl --openssl "$(command -v openssl)" --add-ca ca.pem --warnings off --color 0 --nodns none \
    --ip 127.0.0.1 --fast -p -s -f -U -S -h "https://localhost:$second" | tee report
kill -0 $node
if grep -i "not ok" report; then exit 1; fi
echo "nothing is NOT ok"
