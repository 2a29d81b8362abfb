#!/usr/bin/env bash
# Prints the path of a Python that runs, or fails; pyenv's need not be active.
#
#   tests/find_python.sh VERSION
for found in "$(command -v "python$1")" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/python; do
  if "$found" -c pass 2>/dev/null; then # a shim of pyenv may be there without one
    echo "$found"
    exit
  fi
done
echo "there is no Python $1 here" >&2
exit 1
