#!/bin/sh
# npm run test:vm: sets the machine up, builds, and runs the checks in a virtual machine of their own.
set -eu
cd "$(dirname "$0")/.."
sh scripts/setup.sh "npm run test:vm"
export PATH="$PATH:/usr/sbin:/sbin"
missing=
command -v mmdebstrap >/dev/null || missing="$missing mmdebstrap"
command -v qemu-system-x86_64 >/dev/null || missing="$missing qemu-system-x86"
command -v mke2fs >/dev/null || missing="$missing e2fsprogs"
command -v systemctl >/dev/null || missing="$missing systemd"
if [ -n "$missing" ]; then
  echo "test:vm: apt-get install$missing"
  # shellcheck disable=SC2086 # words on purpose
  DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends $missing >/dev/null
fi
exec node dist/test-vm.mjs "$@"
