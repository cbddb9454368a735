#!/usr/bin/env bash
# Builds the control plane into the file that its first argument names.
# The API server tells clients its version, and HPA features hang on it, so the version is stamped as a release build would.
set -euo pipefail
out=$1
cd "$(dirname "$0")"
version=$(go list -m -f '{{.Version}}' k8s.io/kubernetes)
minor=${version#v1.}
stamp=k8s.io/component-base/version
exec go build -o "$out" -trimpath -ldflags "-s -w
  -X $stamp.gitVersion=$version -X $stamp.gitMajor=1 -X $stamp.gitMinor=${minor%%.*}
  -X $stamp.gitCommit=test-world -X $stamp.gitTreeState=clean -X $stamp.buildDate=1970-01-01T00:00:00Z" .
