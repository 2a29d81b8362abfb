#!/usr/bin/env bash
# Runs the core's tests in each other Python that is at hand.
#
#   tests/pythons.sh [VERSION...]     default: 3.10 3.13
#
# Makes .venv-<version>, without torch and the like: tests/schema and tests/presets need none.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

[ $# -gt 0 ] || set -- 3.10 3.13
for version in "$@"; do
  python=$(tests/find_python.sh "$version") || continue
  echo "== Python $version"
  venv=.venv-$version
  "$python" -m venv "$venv"
  "$venv/bin/python" -m pip install --quiet -c constraints.txt -e . pytest hypothesis jsonschema
  "$venv/bin/python" -m pytest -q tests/schema tests/presets
done
