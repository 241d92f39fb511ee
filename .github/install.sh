#!/usr/bin/env bash
# Prints the path of a verified ktor binary for this machine, downloading it where it is not there yet.
#
# What may run is what .github/ktor.sha256 lists: pinning the action pins the bytes. Read from the environment: KTOR_BIN (a
# binary to use as it is), RUNNER_TEMP, GITHUB_SERVER_URL.
set -euo pipefail

fail() {
  printf '::error title=ktor::%s\n' "$*" >&2
  exit 1
}

if [ -n "${KTOR_BIN:-}" ]; then
  [ -x "$KTOR_BIN" ] || fail 'KTOR_BIN names no program that can be run'
  printf '%s\n' "$KTOR_BIN"
  exit
fi

[ "$(uname -s)" = Linux ] || fail "there is a binary for Linux only, and this runner is $(uname -s)"
case $(uname -m) in
  x86_64 | amd64) arch=x86_64 ;;
  aarch64 | arm64) arch=aarch64 ;;
  *) fail "there is no binary for $(uname -m): build one and name it in KTOR_BIN" ;;
esac

# A line of the table: SHA-256, version/name.
table=$(dirname "${BASH_SOURCE[0]}")/ktor.sha256
sum="" file=""
while read -r line_sum line_file; do
  case $line_file in v*/ktor-"$arch"-linux-musl) sum=$line_sum file=$line_file ;; esac
done <"$table"
[ -n "$sum" ] || fail "this revision of the action lists no released binary for $arch: build one and name it in KTOR_BIN"

name=ktor-$arch-linux-musl
folder=${RUNNER_TEMP:?}/ktor/$sum
verified() {
  (cd "$folder" && printf '%s  %s\n' "$sum" "$1" | sha256sum --check --status --strict)
}

# One that is there already is verified all the same: the folder outlives the step.
if ! { [ -f "$folder/$name" ] && verified "$name"; }; then
  mkdir -p "$folder"
  url=${GITHUB_SERVER_URL:-https://github.com}/karellen/ktor-action/releases/download/$file
  curl --fail --silent --show-error --location --retry 3 --output "$folder/$name.part" "$url" || fail "cannot download $url"
  if ! verified "$name.part"; then
    rm -f "$folder/$name.part"
    fail "the bytes at $url are not those that this revision of the action lists: nothing was run"
  fi
  mv "$folder/$name.part" "$folder/$name"
fi
chmod +x "$folder/$name"
printf '%s\n' "$folder/$name"
