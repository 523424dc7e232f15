#!/bin/sh
# Makes a fresh Debian 12 or 13 machine ready for the demo, the tests and the benchmarks: packages, node_modules, build.
# Does nothing where nothing is missing. Usage: setup.sh NAME-OF-THE-COMMAND
set -eu
cd "$(dirname "$0")/.."
command_name=${1:-npm run demo}
began=$(date +%s%N)

say() {
  ms=$((($(date +%s%N) - began) / 1000000))
  printf 'setup  %3d.%d s  %s\n' $((ms / 1000)) $((ms % 1000 / 100)) "$*"
}
fail() {
  printf 'setup: %s\n' "$*" >&2
  exit 1
}

[ "$(uname -s)" = Linux ] || fail "deckhand needs Linux, this is $(uname -s)"
[ "$(id -u)" = 0 ] || fail "\"$command_name\" makes network namespaces and containers and needs root: run it as root or with sudo"
command -v node >/dev/null || fail "no node command: install Node 20.19 or later (Debian 13: apt-get install nodejs npm)"
node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)' ||
  fail "Node $(node -p process.versions.node) is too old: Node 20.19 or later is required"

# sbin is not in every root's PATH (su without -).
PATH=$PATH:/usr/sbin:/sbin
export PATH

missing=
need() { # COMMAND-OR-FILE PACKAGE
  case $1 in
    /*) [ -e "$1" ] || missing="$missing $2" ;;
    *) command -v "$1" >/dev/null || missing="$missing $2" ;;
  esac
}
need containerd containerd
need ctr containerd
need runc runc
need /usr/lib/cni/bridge containernetworking-plugins
need iptables iptables
need iptables-restore iptables
need nft nftables
need ipset ipset
need conntrack conntrack
need ip iproute2
need dbus-daemon dbus-daemon
need nsenter util-linux
need mount mount
need openssl openssl
need npm npm
if [ ! -x /bin/busybox ] && [ ! -x /usr/bin/busybox ]; then
  missing="$missing busybox-static"
elif grep -q /lib64/ld-linux "$(command -v busybox || echo /bin/busybox)"; then
  missing="$missing busybox-static"
fi

if [ -n "$missing" ]; then
  missing=$(printf '%s\n' $missing | sort -u | tr '\n' ' ')
  command -v apt-get >/dev/null || fail "missing: $missing; there is no apt-get here to install them with"
  log=$(mktemp)
  # Packages would start their services (containerd's is not wanted: each run brings its own). invoke-rc.d(8) asks this.
  policy=/usr/sbin/policy-rc.d
  if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod 755 $policy
    trap 'rm -f $policy "$log"' EXIT
    trap 'exit 130' INT TERM
  else
    trap 'rm -f "$log"' EXIT
  fi
  export DEBIAN_FRONTEND=noninteractive
  say "apt-get update"
  apt-get -qq update >"$log" 2>&1 || say "apt-get update had errors, going on with the lists at hand: $(tail -n 1 "$log")"
  say "apt-get install $missing"
  # shellcheck disable=SC2086 # words on purpose
  apt-get -qq install --yes --no-install-recommends $missing >"$log" 2>&1 || {
    cat "$log" >&2
    fail "apt-get cannot install $missing"
  }
  rm -f "$log"
  [ "$(cat $policy 2>/dev/null)" = "$(printf '#!/bin/sh\nexit 101')" ] && rm -f $policy
  trap - EXIT INT TERM
  say "Debian packages installed"
else
  say "Debian packages: all there"
fi

# True when node_modules holds just what the lock asks for (optional packages of other platforms aside).
modules_match() {
  [ -f node_modules/.package-lock.json ] && node -e '
    const { readFileSync } = require("node:fs");
    const packages = (file) => JSON.parse(readFileSync(file, "utf8")).packages;
    const wanted = packages("package-lock.json");
    const present = packages("node_modules/.package-lock.json");
    for (const [path, { version, optional, devOptional }] of Object.entries(wanted)) {
      if (path === "" || (present[path] === undefined && (optional || devOptional))) continue;
      if (present[path]?.version !== version) process.exit(1);
    }
    process.exit(Object.keys(present).every((path) => path in wanted) ? 0 : 1);
  '
}
if modules_match; then
  say "node_modules: as package-lock.json says"
else
  say "npm ci"
  npm ci --no-audit --no-fund --loglevel=error
  say "node_modules installed"
fi

say "protobuf code from proto/, bundles into dist/"
node scripts/generate-proto.mjs
node scripts/build.mjs
say "ready"
