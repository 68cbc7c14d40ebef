#!/usr/bin/env bash
# Builds the image with the first of docker and podman that works here. docs/image.md says what the variables mean.
# usage: image.sh        reads ENGINE, TAG, TARGET, BASE, BASE_PYTHON, TORCH_INDEX, MODEL_ID, MODEL_REVISION,
#                        WHEELS, PIP_CONF, CA_PEM, HF_TOKEN
set -euo pipefail

engine=$(scripts/engine.sh)
target=${TARGET:-cpu}
version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' app/__init__.py)
tag=${TAG:-vitrine:$version}
model=${MODEL_ID:-sentence-transformers/all-MiniLM-L6-v2}

options=(--target "$target" --tag "$tag"
    --build-arg "MODEL_ID=$model" --build-arg "MODEL_NAME=${model##*/}"
    --build-arg "MODEL_REVISION=${MODEL_REVISION:-}"
    --build-arg "VERSION=$version" --build-arg "REVISION=$(git describe --always --abbrev=40 --exclude '*' --dirty)"
    --build-arg "CREATED=$(date --utc +%FT%TZ)")
[ -z "${BASE:-}" ] || options+=(--build-arg "BASE=$BASE")
[ -z "${BASE_PYTHON:-}" ] || options+=(--build-arg "PYTHON=$BASE_PYTHON")
index=TORCH_INDEX
[ "$target" != cuda ] || index=TORCH_CUDA_INDEX
[ -z "${TORCH_INDEX:-}" ] || options+=(--build-arg "$index=$TORCH_INDEX")

[ -z "${WHEELS:-}" ] || options+=(--build-context "wheels=$WHEELS")
# Mounted while packages are installed, and in no layer.
[ -z "${PIP_CONF:-}" ] || options+=(--secret "id=pip.conf,src=$PIP_CONF")
[ -z "${CA_PEM:-}" ] || options+=(--secret "id=ca.pem,src=$CA_PEM")
[ -z "${HF_TOKEN:-}" ] || options+=(--secret "id=hf_token,env=HF_TOKEN")

# Podman's own format knows no HEALTHCHECK.
[ "$engine" != podman ] || options+=(--format docker)
"$engine" build "${options[@]}" .
echo "Built $tag: $("$engine" image inspect --format '{{.Size}}' "$tag" | numfmt --to si) bytes"
