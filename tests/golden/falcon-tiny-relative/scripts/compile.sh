#!/usr/bin/env bash
# Compiles the model with the vendor's vamc, once for each precision.
#
# usage: scripts/compile.sh [PRECISION...]
#   PRECISION    fp16; default: all of them
# Run scripts/prepare.sh first: it puts the files that vamc needs beside the weights.

set -euo pipefail

fail() { # what is wrong, what to do, exit code
  printf 'error: %s\nhint: %s\n' "$1" "$2" >&2
  exit "$3"
}

usage() {
  sed -n '/^# usage:/,/^$/ s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
}

workspace=$(CDPATH="" cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)

for precision in "$@"; do
  case $precision in
    fp16) ;;
    -h | --help) usage && exit 0 ;;
    *) fail "no precision '$precision'" \
      "vacc.yaml has fp16; \`precisions\` there adds others" 2 ;;
  esac
done
[ $# -gt 0 ] || set -- fp16
command -v vamc >/dev/null ||
  fail "vamc is not on the PATH" "it comes with the vendor's software; see env/ for its Python" 2

cd -- "$workspace" # paths in the configs are relative to it

compile() { # config, folder of the result, whether to run `vamc quant` first
  weights=$(sed -n 's/^  checkpoint: //p' "$1")
  case $weights in
    /path/to/*) fail "$1 does not say yet where the weights are" "set frontend.checkpoint in it" 2 ;;
    [\'\"]*) ;; # quoted in YAML's way: vamc will see
    *) [ -d "$weights" ] || fail "the weights are not there yet: $weights" \
      "put them there" 2 ;;
  esac
  if [ "$3" = true ]; then
    vamc quant "$1"
  fi
  vamc compile "$1"
  [ -n "$(find "$2" -name 'mod*' -print -quit 2>/dev/null)" ] ||
    fail "vamc left no mod* in $2" "read its output above" 1
  printf 'compiled: %s\n' "$workspace/$2"
}

for precision in "$@"; do
  case $precision in
    fp16) compile build/hf_falcon_fp16.yaml vacc_deploy/weights-fp16-tp1-128-256 false ;;
  esac
done
