#!/usr/bin/env bash
# Prints the comment that a pull request would get: the plan of the branch `retire-reviews` of the shop, as its difference
# from `main`, without a cluster. Needs cargo and git, nothing else.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ktor=$("$here/build.sh")
repository=$(mktemp -d)
trap 'rm -rf "$repository"' EXIT

"$here/repository.sh" "$repository"
"$ktor" plan --path "$repository/shop" --offline --base main --output markdown
