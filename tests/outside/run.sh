#!/bin/sh
# Installs what package-lock.json and requirements.txt name and runs everything, or the test files given as arguments.
# See README.md for the environment.
set -eu
cd "$(dirname "$0")"
npm ci --no-audit --no-fund
python3 -m venv .venv
.venv/bin/pip install --quiet --disable-pip-version-check --requirement requirements.txt
if [ "$#" -eq 0 ]; then set -- *.test.js; fi
PATH="$PWD/.venv/bin:$PATH" exec node --test --test-concurrency=2 --test-reporter=spec "$@"
