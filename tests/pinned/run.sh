#!/usr/bin/env bash
# Run the modeling tests, the TorchScript export and emitted graphs in the compiler's environment.
#
#   tests/pinned/run.sh [pytest argument...]
#
# Makes .venv-pinned from presets/environments/falcon-py310.txt (hash-pinned; about 5 GB, for
# PyTorch 2.1.0 as the index has it brings CUDA), and keeps it until the lock changes.
# Exits with pytest's own status, or says that there is no Python 3.10 and exits 0.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
readonly lock=presets/environments/falcon-py310.txt
readonly venv=.venv-pinned
readonly stamp=$venv/lock.sha256

if ! python=$(tests/find_python.sh 3.10); then
  echo "skipped: the compiler's environment needs Python 3.10"
  exit 0
fi

if ! sha256sum --check --status "$stamp" 2>/dev/null; then
  echo "making $venv from $lock: about 5 GB"
  rm -rf "$venv"
  "$python" -m venv "$venv"
  "$venv/bin/python" -m pip install --quiet --require-hashes -r "$lock"
  "$venv/bin/python" -m pip install --quiet pytest # no part of the compiler's environment
  sha256sum "$lock" >"$stamp"
fi

# It has no vacc-gen: the graphs that it runs are made by .venv, or what VACC_GEN_PYTHON names.
VACC_GEN_GRAPHS=$(mktemp -d)
export VACC_GEN_GRAPHS
trap 'rm -rf "$VACC_GEN_GRAPHS"' EXIT
"${VACC_GEN_PYTHON:-.venv/bin/python}" -m tests.pinned.test_graphs "$VACC_GEN_GRAPHS"

# These tests also run in the development environment. No conftest.py from above their folder:
# those may import what this environment does not have.
readonly tests=tests/generator/templates
"$venv/bin/python" -m pytest --confcutdir="$tests" \
  "$tests"/test_modeling_falcon_vacc*.py tests/pinned/test_graphs.py "$@"
