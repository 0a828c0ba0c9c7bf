#!/usr/bin/env bash
# Installs what building and testing Brink needs beside Rust, on Debian 12 or later:
#   gcc, libc6-dev   for the cryptography library (aws-lc) and zstd
#   curl             for the smoke run of the demo
#   nginx            for the tests against a real origin; without it they skip themselves
# Does nothing when everything is there. Needs root for the rest.
set -euo pipefail

missing=()
command -v cc >/dev/null || missing+=(gcc libc6-dev)
command -v curl >/dev/null || missing+=(curl ca-certificates)
[ -x /usr/sbin/nginx ] || command -v nginx >/dev/null || missing+=(nginx-light)

if [ ${#missing[@]} -eq 0 ]; then
    echo "setup: everything is there"
    exit 0
fi
echo "setup: installing ${missing[*]}"
if [ "$(id -u)" -ne 0 ]; then
    echo "setup: run as root, or install these packages yourself: ${missing[*]}" >&2
    exit 1
fi
# A package must not start a service here; nginx is only run by tests, on ports of their own.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    trap 'rm -f "$policy"' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -q -y --no-install-recommends "${missing[@]}"
