#!/bin/sh
# npm run demo: sets the machine up, then shows a node at work. Usage: demo.sh [--keep | --down | --help]
set -eu
cd "$(dirname "$0")/.."
case "${1:-}" in
  --help | -h)
    echo 'npm run demo             start a node, show what it does, undo everything'
    echo 'npm run demo -- --keep   the same, and leave the node up to be used with kubectl'
    echo 'npm run demo -- --down   end a node that --keep left up'
    exit 0
    ;;
esac
if [ "${1:-}" != --down ] || [ ! -f dist/demo.mjs ]; then sh scripts/setup.sh "npm run demo"; fi
[ "$(id -u)" = 0 ] || {
  echo 'demo: "npm run demo -- --down" needs root: run it as root or with sudo' >&2
  exit 1
}
export PATH="$PATH:/usr/sbin:/sbin"
exec node dist/demo.mjs "$@"
