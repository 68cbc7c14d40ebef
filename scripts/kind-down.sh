#!/usr/bin/env bash
# Deletes the cluster that kind-up.sh made.
# reads CLUSTER (vitrine)
set -euo pipefail

KIND_EXPERIMENTAL_PROVIDER=$(scripts/engine.sh)
export KIND_EXPERIMENTAL_PROVIDER
kind delete cluster --name "${CLUSTER:-vitrine}"
