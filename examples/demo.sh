#!/usr/bin/env bash
# Lives one life of the shop on a real control plane: the first apply, a pull request's plan, its merge, the cleanup.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
if [ -z "${KUBECTL:-}" ]; then
  exec "$here/control-plane.sh" "${BASH_SOURCE[0]}"
fi
ktor=$("$here/build.sh")
repository=$(mktemp -d)
trap 'rm -rf "$repository"' EXIT

title() { printf '\n# %s\n\n' "$*"; }
shown() {
  printf '$ %s\n' "$*"
  "$@"
}
ktor() { "$ktor" "$@"; }
kubectl() { "$KUBECTL" "$@"; }

"$here/repository.sh" "$repository"
cd "$repository/shop"

title 'main: the first apply'
git switch --quiet main
shown ktor apply --yes

title 'The pull request: its plan, as the comment shows it'
git switch --quiet retire-reviews
shown ktor plan --base main --output markdown

title 'The merge: the apply on main cleans up'
git switch --quiet main
git merge --quiet --ff-only retire-reviews
shown ktor apply --yes

title 'Once more: nothing to do'
shown ktor plan --detailed-exitcode

title 'The cluster'
shown kubectl get deployments,services,configmaps,secrets,promotions --namespace shop

title 'The state, decoded'
kubectl get secrets --namespace kubernator-system --field-selector type=kubernator.io/project-state \
  --output 'jsonpath={.items[0].data.state}' | base64 --decode | gunzip
echo
