#!/usr/bin/env bash
# Builds kubectl into the file that its first argument names.
set -euo pipefail
out=$1
cd "$(dirname "$0")"
exec go build -o "$out" -trimpath -ldflags "-s -w" .
