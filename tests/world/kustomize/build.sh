#!/usr/bin/env bash
# Builds kustomize into the file that its first argument names.
set -euo pipefail
out=$1
cd "$(dirname "$0")"
exec go build -o "$out" -trimpath -ldflags "-s -w" sigs.k8s.io/kustomize/kustomize/v5
