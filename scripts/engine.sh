#!/usr/bin/env bash
# Prints docker or podman: $ENGINE, or the first of them that works here.
set -euo pipefail

for engine in ${ENGINE:-docker podman}; do
    if "$engine" info >/dev/null 2>&1; then
        echo "$engine"
        exit 0
    fi
done
echo "Neither docker nor podman works here: '${ENGINE:-docker} info' says why. Name another with ENGINE=podman." >&2
exit 1
