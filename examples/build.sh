#!/usr/bin/env bash
# Builds the binary and prints its path; the arguments are cargo's. KTOR_BIN names a binary to use as it is.
set -euo pipefail

if [ -z "${KTOR_BIN:-}" ]; then
  cd "$(dirname "${BASH_SOURCE[0]}")/.."
  cargo build --bin ktor "$@" >&2
  target=$(cargo metadata --format-version 1 --no-deps | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
  profile=debug
  case " $* " in *' --release '*) profile=release ;; esac
  KTOR_BIN=$target/$profile/ktor
fi
printf '%s\n' "$KTOR_BIN"
