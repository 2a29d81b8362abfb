#!/usr/bin/env bash
# Serves a compiled model with the vendor's vastgenx; the interface is OpenAI's.
#
# usage: scripts/serve.sh [PRECISION] [OPTION...]
#   PRECISION      fp16; default: fp16
#   OPTION         handed on to vastgenx serve
#   VACC_HOST      (environment) address to listen on; default: 127.0.0.1, this machine alone
#   VACC_PORT      (environment) default: 9000
#   VACC_DEVICES   (environment) dies to run on; default: [0]

set -euo pipefail

fail() { # what is wrong, what to do, exit code
  printf 'error: %s\nhint: %s\n' "$1" "$2" >&2
  exit "$3"
}

usage() {
  sed -n '/^# usage:/,/^$/ s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
}

workspace=$(CDPATH="" cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)

precision=fp16
case ${1:-} in
  -h | --help) usage && exit 0 ;;
  '' | -*) ;;
  *) precision=$1 && shift ;;
esac
case $precision in
  fp16) model=$workspace/vacc_deploy/weights-fp16-tp1-128-256 ;;
  *) fail "no precision '$precision'" \
    "vacc.yaml has fp16" 2 ;;
esac
[ -d "$model" ] || fail "there is no $model" "compile it first: scripts/compile.sh $precision" 2
command -v vastgenx >/dev/null ||
  fail "vastgenx is not on the PATH" "it comes with the vendor's software" 2

exec vastgenx serve --model "$model" --host "${VACC_HOST:-127.0.0.1}" --port "${VACC_PORT:-9000}" \
  --llm_devices "${VACC_DEVICES:-[0]}" "$@"
