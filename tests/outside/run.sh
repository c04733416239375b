#!/bin/sh
# Installs what package-lock.json names and runs everything, or the test files given as arguments. See README.md for the environment.
set -eu
cd "$(dirname "$0")"
npm ci --no-audit --no-fund
if [ "$#" -eq 0 ]; then set -- *.test.js; fi
exec node --test --test-concurrency=2 --test-reporter=spec "$@"
