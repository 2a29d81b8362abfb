#!/usr/bin/env bash
# The main job, end to end: a workspace for falcon-7b-instruct, then a small trained Falcon built
# and run. What is done already is reused, so a second run takes seconds.
#
# usage: docs/demo.sh [DIR]     DIR is where the workspaces go; default: demo
set -euo pipefail
repository=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "${1:-demo}"
cd "${1:-demo}"
checkpoint=$(realpath --relative-to=. "$repository/tests/data/falcon-tiny")
prompt="In the beginning God created the heaven and the earth."

bold='' plain=''
[ ! -t 1 ] || [ -n "${NO_COLOR:-}" ] || bold=$'\033[1m' plain=$'\033[0m'

show() { # a command: what it is, then what it does
  local word line='$'
  for word; do
    case $word in
      *[!A-Za-z0-9_./=-]*) line+=" ${word@Q}" ;;
      *) line+=" $word" ;;
    esac
  done
  printf '\n%s%s%s\n' "$bold" "$line" "$plain"
  "$@"
}

workspace() { # name, options of `new`: a new workspace, or the one that is there brought up to date
  if [ -e "$1/vacc.yaml" ]; then
    show vacc-gen generate "$1"
  else
    show vacc-gen new --out "$@"
  fi
}

workspace falcon-7b-instruct --model falcon-7b-instruct
show vacc-gen validate falcon-7b-instruct

workspace falcon-tiny --model falcon-tiny --checkpoint "$checkpoint"
show vacc-gen build falcon-tiny --backend onnxruntime
for precision in fp16 int8; do
  show vacc-gen run falcon-tiny --precision "$precision" --max-tokens 48 --prompt "$prompt"
done
