#!/usr/bin/env bash
# Builds the strict reader of dashboards into the file that its first argument names.
set -euo pipefail
out=$1
cd "$(dirname "$0")"
exec go build -o "$out" -trimpath -ldflags "-s -w" .
