#!/bin/sh
# Installs what ../outside needs and runs the server among abuse. See README.md.
set -eu
cd "$(dirname "$0")"
[ -d ../outside/node_modules ] || (cd ../outside && npm ci --no-audit --no-fund)
exec node main.js "$@"
