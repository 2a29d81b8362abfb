#!/usr/bin/env bash
# Fetches the weights: config, tokenizer and safetensors files, nothing else.
#
# usage: scripts/download.sh [DIR]
#   DIR            the weight folder; default: the checkpoint that vacc.yaml names
#   HF_ENDPOINT    (environment) a mirror to fetch from
# What is there already is not fetched again. Checksums are compared with the hub's.

set -euo pipefail

fail() { # what is wrong, what to do, exit code
  printf 'error: %s\nhint: %s\n' "$1" "$2" >&2
  exit "$3"
}

usage() {
  sed -n '/^# usage:/,/^$/ s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
}

repository=BAAI/Aquila2-7B

case ${1:-} in
  -h | --help) usage && exit 0 ;;
  -*) usage >&2 && exit 2 ;;
esac
if [ $# -gt 0 ]; then
  case $1 in
    /*) weights=$1 ;;
    *) weights=$PWD/$1 ;;
  esac
else
  fail "vacc.yaml does not say yet where the weights are" \
    "name the folder: $0 DIR" 2
fi

if command -v hf >/dev/null; then
  client=hf
elif command -v huggingface-cli >/dev/null; then
  client=huggingface-cli
else
  fail "neither hf nor huggingface-cli is on the PATH" "pip install huggingface_hub" 2
fi

if [ -n "${HF_ENDPOINT:-}" ]; then
  export HF_ENDPOINT=${HF_ENDPOINT%/}
  printf 'from %s\n' "$HF_ENDPOINT"
fi

verify() { # repository, its type, folder
  if "$client" cache verify --help >/dev/null 2>&1; then
    "$client" cache verify "$1" --repo-type "$2" --local-dir "$3" || fail \
      "a file in $3 is not the one that $1 holds" "remove it, and run this again" 1
  else
    printf 'warning: this %s compares no checksums; a newer huggingface_hub does\n' "$client" >&2
  fi
}

mkdir -p -- "$weights"
# One pattern a call: older clients take several after one --include, newer ones repeat it.
for pattern in '*.json' 'tokenizer*' '*.safetensors'; do
  "$client" download "$repository" --local-dir "$weights" --include "$pattern" --exclude '*/*'
done

for file in "$weights/config.json" "$weights"/*.safetensors; do
  [ -e "$file" ] || fail "$file did not arrive" "see what $repository holds" 1
done
verify "$repository" model "$weights"
printf 'weights are in %s\n' "$weights"
