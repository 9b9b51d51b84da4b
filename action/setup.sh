#!/usr/bin/env bash
# Builds an environment of the action's own from its hashed lock, and says where its Python is. Nothing of the caller's repository is read.
set -euo pipefail

if ! "$AUDIT_PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
  echo "truename: the input python is no Python 3.11 or newer; put actions/setup-python before this action" >&2
  exit 2
fi
venv=$RUNNER_TEMP/truename-venv
"$AUDIT_PYTHON" -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes -r "$GITHUB_ACTION_PATH/requirements.lock"
printf 'python=%s\n' "$venv/bin/python" >>"$GITHUB_OUTPUT"
