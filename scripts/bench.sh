#!/bin/sh
# npm run bench NAME [options]: sets the machine up, then measures. Names are the files of bench/.
set -eu
cd "$(dirname "$0")/.."
name=${1:-}
if [ -z "$name" ] || [ ! -f "bench/$name.ts" ]; then
  echo "bench: ${name:+no benchmark called $name; }choose one of: $(ls bench | sed -n 's/\.ts$//p' | tr '\n' ' ')" >&2
  exit 1
fi
shift
sh scripts/setup.sh "npm run bench"
export PATH="$PATH:/usr/sbin:/sbin"
exec node "dist/bench-$name.mjs" "$@"
