#!/usr/bin/env bash
# Makes a git repository of the shop: `main`, and checked out on top of it the branch `retire-reviews`, which drops the
# reviews, raises the catalog and rotates the payment key.
#
# usage: examples/repository.sh DIR
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repository=${1:?usage: examples/repository.sh DIR}

# Neither the caller's repository nor the caller's settings have a say in it.
unset "${!GIT_@}"
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1
export GIT_AUTHOR_NAME=shop GIT_AUTHOR_EMAIL=shop@example.com GIT_AUTHOR_DATE='2026-01-01T00:00:00Z'
export GIT_COMMITTER_NAME=$GIT_AUTHOR_NAME GIT_COMMITTER_EMAIL=$GIT_AUTHOR_EMAIL GIT_COMMITTER_DATE=$GIT_AUTHOR_DATE

mkdir -p "$repository"
cp -R "$here/shop" "$repository/shop"
cd "$repository"
git init --quiet --initial-branch=main
git add --all
git commit --quiet --message='shop: open'
git switch --quiet --create=retire-reviews
git apply --index "$here/retire-reviews.patch"
git commit --quiet --message='shop: retire the reviews'
