#!/usr/bin/env bash
# A cluster on this machine with the image, the service and its monitoring in it. Run again, it brings what changed.
# reads CLUSTER (vitrine) and what scripts/image.sh reads
set -euo pipefail

scripts/kind-programs.sh
cluster=${CLUSTER:-vitrine}
engine=$(scripts/engine.sh)
export KIND_EXPERIMENTAL_PROVIDER=$engine
# As the manifests and the nodes call it
image=docker.io/library/vitrine:$(sed -n 's/^__version__ = "\(.*\)"/\1/p' app/__init__.py)

if ! kind get clusters | grep -qx "$cluster"; then
    kind create cluster --name "$cluster" --config k8s/kind/cluster.yaml --wait 3m
fi

TAG=$image scripts/image.sh
archive=$(mktemp --suffix .tar)
trap 'rm -f "$archive"' EXIT
"$engine" save --output "$archive" "$image"
kind load image-archive "$archive" --name "$cluster"

kubectl=(kubectl --context "kind-$cluster")
deployed=$("${kubectl[@]}" --namespace vitrine get deployment vitrine --ignore-not-found --output name 2>/dev/null || true)
"${kubectl[@]}" apply --kustomize .
# Under the same tag there may be another image than before.
[ -z "$deployed" ] || "${kubectl[@]}" --namespace vitrine rollout restart deployment vitrine

for namespace in vitrine monitoring; do
    echo "Waiting for namespace $namespace"
    for workload in $("${kubectl[@]}" --namespace "$namespace" get deployments,statefulsets --output name); do
        "${kubectl[@]}" --namespace "$namespace" rollout status "$workload" --timeout 10m
    done
done

cat <<END

It runs. To reach it from here, each of these in a terminal of its own:
  ${kubectl[*]} -n vitrine port-forward deployment/vitrine 8000 9000     API and console: http://127.0.0.1:8000/docs, :9000
  ${kubectl[*]} -n monitoring port-forward service/grafana 3000          dashboards: http://127.0.0.1:3000
  ${kubectl[*]} -n monitoring port-forward service/prometheus 9090       http://127.0.0.1:9090
  ${kubectl[*]} -n monitoring port-forward service/alertmanager 9093     http://127.0.0.1:9093
  ${kubectl[*]} -n monitoring port-forward service/jaeger 16686          traces: http://127.0.0.1:16686
END
