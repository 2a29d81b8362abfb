#!/usr/bin/env bash
# Fetches the weights: config, tokenizer and safetensors files, nothing else.
#
# usage: scripts/download.sh [DIR]
#   DIR            the weight folder; default: the checkpoint that vacc.yaml names
#   HF_ENDPOINT    (environment) a mirror to fetch from
# What is there already is not fetched again, and where curl is there a large file that was cut off
# goes on where it stopped. Checksums are compared with the hub's.

set -euo pipefail

fail() { # what is wrong, what to do, exit code
  printf 'error: %s\nhint: %s\n' "$1" "$2" >&2
  exit "$3"
}

usage() {
  sed -n '/^# usage:/,/^$/ s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
}

workspace=$(CDPATH="" cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
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
  weights=$workspace/weights/falcon-7b-instruct
fi

if command -v hf >/dev/null; then
  client=hf
elif command -v huggingface-cli >/dev/null; then
  client=huggingface-cli
else
  fail "neither hf nor huggingface-cli is on the PATH" "pip install huggingface_hub" 2
fi

export HF_ENDPOINT=${HF_ENDPOINT:-https://huggingface.co}
HF_ENDPOINT=${HF_ENDPOINT%/}
printf 'from %s\n' "$HF_ENDPOINT"
case ${HF_HUB_OFFLINE:-0} in
  1 | [Oo][Nn] | [Yy][Ee][Ss] | [Tt][Rr][Uu][Ee]) fail "HF_HUB_OFFLINE is set" "unset it to fetch" 1 ;;
esac
token_file=${HF_TOKEN_PATH:-${HF_HOME:-${HOME:-}/.cache/huggingface}/token} # of `hf auth login`
token=${HF_TOKEN:-$(cat -- "$token_file" 2>/dev/null || true)}

# The client says with a traceback what a hub answers with a number.
ask() { # kind of the repository, repository
  local status hint="run this again: it goes on where it stopped"
  command -v curl >/dev/null || return 0
  status=$(curl --silent --location --retry 3 --output /dev/null --write-out '%{http_code}' \
    ${token:+--oauth2-bearer "$token"} "$HF_ENDPOINT/api/$1s/$2/revision/main") || true
  case $status in
    2*) ;;
    401 | 403) fail "$HF_ENDPOINT does not give out $1 $2 ($status)" \
      "check the name; a private or gated repository needs \`hf auth login\` or HF_TOKEN" 1 ;;
    404) fail "$HF_ENDPOINT has no $1 $2 (404)" \
      "check the name; HF_ENDPOINT decides which hub is asked" 1 ;;
    000) fail "fetching $1 $2 from $HF_ENDPOINT failed: no answer" \
      "check the network, or name a mirror in HF_ENDPOINT; then $hint" 1 ;;
    *) fail "$HF_ENDPOINT fails to serve $1 $2 ($status)" "$hint" 1 ;;
  esac
}

# The client begins an interrupted file anew. It takes over what is there already and has the hub's
# checksum, so large files are brought ahead of it, each under another name until it is whole.
ahead() { # path on the hub, where it goes
  local status
  [ ! -e "$2" ] && command -v curl >/dev/null || return 0
  printf 'fetching %s\n' "$1"
  [ ! -L "$2.part" ] || rm -f -- "$2.part" # it may lead anywhere
  for _ in 1 2 3 4 5; do
    status=0
    curl --fail --location --retry 5 --progress-bar --continue-at - --output "$2.part" \
      ${token:+--oauth2-bearer "$token"} "$HF_ENDPOINT/$1" || status=$?
    case $status in
      0) mv -- "$2.part" "$2" && return 0 ;;
      22) return 0 ;; # the hub refuses: the client says why
    esac
    sleep 1
  done
  fail "$1 was cut off" "run this again: it goes on where it stopped" 1
}

verify() { # repository, its type, folder
  if "$client" cache verify --help >/dev/null 2>&1; then
    "$client" cache verify "$1" --repo-type "$2" --local-dir "$3" || fail \
      "a file in $3 is not the one that $1 holds" "remove it, and run this again" 1
  else
    printf 'warning: this %s compares no checksums; a newer huggingface_hub does\n' "$client" >&2
  fi
}

bring() { # pattern; older clients take several after one --include, newer ones repeat it
  "$client" download "$repository" --local-dir "$weights" --include "$1" --exclude '*/*' ||
    fail "$client did not bring $1 of $repository" "read its words above, then run this again" 1
}

ask model "$repository"
mkdir -p -- "$weights"
bring '*.json'
bring 'tokenizer*'
index=$weights/model.safetensors.index.json
shards=model.safetensors
[ ! -e "$index" ] || shards=$(grep -o '"[^"/]*\.safetensors"' "$index" | tr -d '"' | sort -u)
for shard in $shards; do
  ahead "$repository/resolve/main/$shard" "$weights/$shard"
done
bring '*.safetensors'
rm -f -- "$weights"/*.safetensors.part

for file in "$weights/config.json" "$weights"/*.safetensors; do
  [ -e "$file" ] || fail "$file did not arrive" "see what $repository holds" 1
done
verify "$repository" model "$weights"
printf 'weights are in %s\n' "$weights"
