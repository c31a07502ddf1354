#!/bin/sh
# Installs the Debian load generators that the benches cross-check against: h2load (nghttp2-client) and wrk.
set -eu

missing=""
command -v h2load >/dev/null || missing="nghttp2-client"
command -v wrk >/dev/null || missing="$missing wrk"
[ -z "$missing" ] && exit 0

if [ "$(id -u)" -eq 0 ]; then root=""; else root="sudo"; fi
$root apt-get update -qq
# shellcheck disable=SC2086  # a list of package names
$root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $missing
