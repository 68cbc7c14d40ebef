#!/usr/bin/env bash
# Writes the locks of the benchmark's peers, each with the versions that it gets on x86_64 Linux.
# To raise them: lock-peers.sh --upgrade. vLLM asks for the build of torch without CUDA: name an index that has it
# in TORCH_INDEX.
set -euo pipefail

options=(--no-header --no-annotate --python-version 3.11 --python-platform x86_64-manylinux_2_35 "$@")
[ -z "${TORCH_INDEX:-}" ] || options+=(--extra-index-url "$TORCH_INDEX" --index-strategy unsafe-best-match)

for folder in tests/bench/peers/*/; do
    .venv/bin/uv pip compile --quiet "${options[@]}" "$folder/requirements.in" \
        --output-file "$folder/requirements.lock" >/dev/null
done
