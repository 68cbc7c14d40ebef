#!/usr/bin/env bash
# Writes a kustomization that is an overlay of k8s/ with another image, by its digest.
# usage: deployment.sh OVERLAY IMAGE@sha256:... FOLDER        FOLDER inside the repository
set -euo pipefail

overlay=$1
image=$2
folder=$3

if [ ! -d "k8s/overlays/$overlay" ]; then
    echo "There is no overlay $overlay in k8s/overlays" >&2
    exit 1
fi
if [[ ! $image =~ ^[a-z0-9./:_-]+@sha256:[0-9a-f]{64}$ ]]; then
    echo "$image is no image with a digest: NAME@sha256:, then 64 hexadecimal digits" >&2
    exit 1
fi

mkdir -p "$folder"
cat >"$folder/kustomization.yaml" <<END
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources:
  - $(realpath --relative-to "$folder" "k8s/overlays/$overlay")
images:
  - name: vitrine
    newName: ${image%@*}
    digest: ${image#*@}
END
