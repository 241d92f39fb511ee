#!/usr/bin/env bash
# Measures a plan of N objects that changes nothing, half ConfigMaps and half Deployments, beside kubectl's diff on the
# same server in the same run. Prints medians of 3; it judges nothing.
#
# usage: examples/bench.sh [N]
set -euo pipefail
export LC_ALL=C

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
if [ -z "${KUBECTL:-}" ]; then
  exec "$here/control-plane.sh" "${BASH_SOURCE[0]}" "$@"
fi
count=${1:-200}
ktor=$("$here/build.sh" --release)
project=$(mktemp -d)
trap 'rm -rf "$project"' EXIT

# A root for each size, so that one server can be measured at several.
name=bench-$count
# kubectl would take the settings for a manifest, so the manifests have a folder of their own.
manifests=$project/manifests
mkdir "$manifests"
printf 'project: %s\nnamespace: %s\n' "$name" "$name" >"$project/.ktor.yaml"
printf 'apiVersion: v1\nkind: Namespace\nmetadata:\n  name: %s\n' "$name" >"$manifests/namespace.yaml"
for number in $(seq "$((count / 2))"); do
  cat >"$manifests/$number.yaml" <<END
apiVersion: v1
kind: ConfigMap
metadata:
  name: item-$number
  namespace: $name
data:
  number: "$number"
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: item-$number
  namespace: $name
spec:
  replicas: 0
  selector:
    matchLabels: {app: item-$number}
  template:
    metadata:
      labels: {app: item-$number}
    spec:
      containers:
        - name: item
          image: registry.example.com/item:1.0.$number
END
done

# median_of COMMAND: its median wall time of 3 runs, in seconds.
median_of() {
  for _ in 1 2 3; do
    local began=$EPOCHREALTIME
    "$@" >/dev/null
    echo "$began $EPOCHREALTIME"
  done | awk '{ print $2 - $1 }' | sort -n | sed -n 2p
}

kubectl_diff() {
  # Nothing differs: anything but success is an error, and no measurement.
  "$KUBECTL" diff --server-side --concurrency=8 --recursive --filename "$manifests"
}

"$ktor" apply --path "$project" --yes >/dev/null
ktor_seconds=$(median_of "$ktor" plan --path "$project")
kubectl_seconds=$(median_of kubectl_diff)
awk -v n="$count" -v ktor="$ktor_seconds" -v kubectl="$kubectl_seconds" 'BEGIN {
  printf "%-36s %8s %8s\n", "plan, nothing changed", "objects", "seconds"
  printf "%-36s %8d %8.2f\n", "ktor plan", n, ktor
  printf "%-36s %8d %8.2f\n", "kubectl diff --server-side", n, kubectl
  printf "kubectl takes %.1f times as long\n", kubectl / ktor
}'
