#!/usr/bin/env bash
# Runs a command beside a real control plane of its own, whose KUBECONFIG and KUBECTL it finds in its environment.
# The control plane is built from source the first time, which takes a quarter of an hour; it needs Go.
#
# usage: examples/control-plane.sh COMMAND [ARGUMENT]...
set -euo pipefail

coproc PLANE { cd "$(dirname "${BASH_SOURCE[0]}")/.." && exec cargo run --quiet --example controlplane; }
plane=$PLANE_PID output=${PLANE[0]} input=${PLANE[1]}
# The control plane ends with its standard input.
trap 'exec {input}>&-; wait "$plane" || true' EXIT

unset KUBECONFIG KUBECTL
while [ -z "${KUBECTL:-}" ] && read -r line <&"$output"; do
  case $line in KUBECONFIG=* | KUBECTL=*) export "${line?}" ;; esac
done
: "${KUBECTL:?the control plane did not start}"
"$@"
