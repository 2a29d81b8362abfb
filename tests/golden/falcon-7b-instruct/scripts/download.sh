#!/usr/bin/env bash
# Fetches the weights: config, tokenizer and safetensors files, nothing else.
#
# usage: scripts/download.sh [DIR]
#   DIR            the weight folder; default: the checkpoint that vacc.yaml names
#   HF_ENDPOINT    (environment) a mirror to fetch from
# What is there already is not fetched again.

set -euo pipefail

fail() { # what is wrong, what to do, exit code
  printf 'error: %s\nhint: %s\n' "$1" "$2" >&2
  exit "$3"
}

usage() {
  sed -n '/^# usage:/,/^$/ s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
}

repository=tiiuae/falcon-7b-instruct

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
mkdir -p -- "$weights"
# One pattern a call: older clients take several after one --include, newer ones repeat it.
for pattern in '*.json' 'tokenizer*' '*.safetensors'; do
  "$client" download "$repository" --local-dir "$weights" --include "$pattern" --exclude '*/*'
done

for file in "$weights/config.json" "$weights"/*.safetensors; do
  [ -e "$file" ] || fail "$file did not arrive" "see what $repository holds" 1
done
printf 'weights are in %s\n' "$weights"
