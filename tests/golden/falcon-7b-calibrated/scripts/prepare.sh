#!/usr/bin/env bash
# Puts the files of source_code/ beside the weights, where the compiler looks for them.
#
# usage: scripts/prepare.sh [--copy] [--force] [DIR]
#   --copy     copy instead of linking
#   --force    replace files of the same name that differ
#   DIR        the weight folder; default: the checkpoint that vacc.yaml names
# Run it again at will: what stands there already is left alone.

set -euo pipefail

fail() { # what is wrong, what to do, exit code
  printf 'error: %s\nhint: %s\n' "$1" "$2" >&2
  exit "$3"
}

usage() {
  sed -n '/^# usage:/,/^$/ s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
}

workspace=$(CDPATH="" cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
files=(modeling_falcon_vacc.py config_vacc.json)

copy=false
force=false
while [ $# -gt 0 ]; do
  case $1 in
    --copy) copy=true ;;
    --force) force=true ;;
    -h | --help) usage && exit 0 ;;
    -*) usage >&2 && exit 2 ;;
    *) break ;;
  esac
  shift
done
if [ $# -gt 0 ]; then
  case $1 in
    /*) weights=$1 ;;
    *) weights=$PWD/$1 ;;
  esac
else
  weights=$workspace/weights/falcon-7b
fi
[ -d "$weights" ] || fail "there is no folder $weights" "fetch the weights first" 2

# Look at all of them before touching any.
differing=0
for file in "${files[@]}"; do
  source=$workspace/source_code/$file
  placed=$weights/$file
  [ -e "$source" ] || [ -e "$placed" ] ||
    fail "there is no $source" "the vendor publishes it beside its configs for this model" 1
  [ ! -d "$placed" ] || fail "$placed is a folder" "move it away" 1
  if [ -e "$source" ] && { [ -e "$placed" ] || [ -L "$placed" ]; } &&
    ! cmp -s -- "$source" "$placed" && [ "$force" = false ]; then
    printf 'kept: %s differs from ours\n' "$placed" >&2
    differing=1
  fi
done
[ "$differing" = 0 ] || fail "nothing was changed" "--force replaces the files above" 1

partial=
trap '[ -z "$partial" ] || rm -f -- "$partial"' EXIT
for file in "${files[@]}"; do
  source=$workspace/source_code/$file
  placed=$weights/$file
  if [ ! -e "$source" ] || cmp -s -- "$source" "$placed"; then
    printf 'there already: %s\n' "$placed"
    continue
  fi
  partial=$placed.partial.$$
  rm -f -- "$partial" # a link there may lead anywhere
  if [ "$copy" = true ]; then
    cp -- "$source" "$partial"
  else
    ln -s -- "$source" "$partial"
  fi
  mv -f -- "$partial" "$placed"
  partial=
  printf 'placed: %s\n' "$placed"
done
