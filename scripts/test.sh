#!/bin/sh
# npm test: sets the machine up, then runs the tiers. Usage: test.sh [--check] [unit|contract|host|scenario …]
set -eu
cd "$(dirname "$0")/.."
sh scripts/setup.sh "npm test"
export PATH="$PATH:/usr/sbin:/sbin"
exec node dist/test-tiers.mjs "$@"
