#!/usr/bin/env bash
# Serves a compiled model with the vendor's vastgenx; the interface is OpenAI's.
#
# usage: scripts/serve.sh [PRECISION] [OPTION...]
#   PRECISION      kv8, fp16, int8; default: kv8
#   OPTION         handed on to vastgenx serve
#   VACC_HOST      (environment) address to listen on; default: 127.0.0.1, this machine alone
#   VACC_PORT      (environment) default: 9000
#   VACC_DEVICES   (environment) dies to run on; default: [0,1,2,3,4,5,6,7]

set -euo pipefail

fail() { # what is wrong, what to do, exit code
  printf 'error: %s\nhint: %s\n' "$1" "$2" >&2
  exit "$3"
}

usage() {
  sed -n '/^# usage:/,/^$/ s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
}

workspace=$(CDPATH="" cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)

precision=kv8
case ${1:-} in
  -h | --help) usage && exit 0 ;;
  '' | -*) ;;
  *) precision=$1 && shift ;;
esac
case $precision in
  kv8) model=$workspace/vacc_deploy/falcon-forty-int8-tp8-512-4096-kv8 ;;
  fp16) model=$workspace/vacc_deploy/falcon-forty-fp16-tp8-512-4096 ;;
  int8) model=$workspace/vacc_deploy/falcon-forty-int8-tp8-512-4096 ;;
  *) fail "no precision '$precision'" \
    "vacc.yaml has kv8, fp16, int8" 2 ;;
esac
[ -d "$model" ] || fail "there is no $model" "compile it first: scripts/compile.sh $precision" 2
command -v vastgenx >/dev/null ||
  fail "vastgenx is not on the PATH" "it comes with the vendor's software" 2

exec vastgenx serve --model "$model" --host "${VACC_HOST:-127.0.0.1}" --port "${VACC_PORT:-9000}" \
  --llm_devices "${VACC_DEVICES:-[0,1,2,3,4,5,6,7]}" "$@"
