#!/usr/bin/env bash
# Asks an index for known vulnerabilities of the versions in constraints.txt. Exits with 1 if there
# are some; where it cannot ask, it says so and exits with 0.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

venv=.venv-audit
python3 -m venv "$venv"
if ! "$venv/bin/python" -m pip install --quiet pip-audit >/dev/null 2>&1; then
  echo "audit: skipped, pip-audit cannot be installed from here"
  exit 0
fi
status=0
answer=$(timeout 90 "$venv/bin/pip-audit" -r constraints.txt --no-deps --disable-pip \
  --progress-spinner off 2>&1) || status=$?
if [[ $answer == *$'\nFound '* || $answer == 'Found '* ]]; then
  echo "$answer"
  exit 1
elif [ "$status" != 0 ] || [[ $answer == *'could not be audited'* ]]; then
  echo "audit: skipped, the index that answers here knows of no vulnerabilities"
else
  echo "audit: no known vulnerabilities"
fi
