#!/usr/bin/env bash
# Writes the image's bill of materials (CycloneDX): its Python packages, its distribution's packages, and its model.
# usage: sbom.sh IMAGE FILE
set -euo pipefail

image=$1
file=$2
engine=$(scripts/engine.sh)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

in_image() {
    "$engine" run --rm --no-healthcheck --network none --read-only --entrypoint sh "$image" -euc "$1"
}

# cyclonedx-py looks at an environment: this one has the metadata of what the image's has, and none of its code.
.venv-sbom/bin/python -m venv --without-pip "$folder/venv"
in_image 'cd /opt/vitrine/lib/python3*/site-packages && tar -c -- *.dist-info' |
    tar -x -C "$folder"/venv/lib/python3*/site-packages
in_image 'cat /etc/os-release' >"$folder/os-release"
in_image "dpkg-query --show --showformat '\${Package}\t\${Version}\t\${Architecture}\n'" >"$folder/packages"
# shellcheck disable=SC2016 # the image's own variable
in_image 'cat "$APP_MODEL/vitrine-manifest.json"' >"$folder/model.json"

.venv-sbom/bin/cyclonedx-py environment --no-validate --pyproject pyproject.toml \
    --output-file "$folder/python.json" "$folder/venv"
mkdir -p "$(dirname "$file")"
.venv-sbom/bin/python scripts/sbom.py "$folder" >"$folder/sbom.json"
mv "$folder/sbom.json" "$file"
echo "Wrote $file"
