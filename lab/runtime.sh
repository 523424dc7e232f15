#!/bin/sh
# Packages, containerd and CNI of a node. May run again; what runs is restarted only when its configuration changed.
#   POD_CIDR        the node's pods, such as 10.244.1.0/24
#   DEB             deckhand's package (default: the newest dist/deckhand_*_all.deb beside lab/)
#   SANDBOX_IMAGE   the pause image, where it is not containerd's own
#   POD_MASQUERADE  true: the bridge hides pods behind the node (default false: lab/pod-network.sh does, where it is needed)
set -eu
: "${POD_CIDR:?}"
lab=$(cd "$(dirname "$0")" && pwd)
export DEBIAN_FRONTEND=noninteractive

missing=
for package in nodejs containerd runc containernetworking-plugins iptables nftables ipset conntrack iproute2 ca-certificates; do
  dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing="$missing $package"
done
if [ -n "$missing" ]; then
  apt-get -qq update
  # shellcheck disable=SC2086 # words on purpose
  apt-get -qq install --yes --no-install-recommends $missing
fi

# put FILE: writes standard input there; true when that changed the file.
put() {
  mkdir -p "$(dirname "$1")"
  cat >"$1.new"
  if cmp -s "$1.new" "$1"; then
    rm "$1.new"
    return 1
  fi
  mv "$1.new" "$1"
}

changed=false
{
  cat <<'TOML'
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  enable_unprivileged_ports = true
TOML
  [ -z "${SANDBOX_IMAGE:-}" ] || printf '  sandbox_image = "%s"\n' "$SANDBOX_IMAGE"
  cat <<'TOML'
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "/etc/cni/net.d"
TOML
} | put /etc/containerd/config.toml && changed=true
put /etc/cni/net.d/10-deckhand.conflist <<JSON || :
{"cniVersion":"0.4.0","name":"deckhand","plugins":[
  {"type":"bridge","bridge":"cni0","isGateway":true,"ipMasq":${POD_MASQUERADE:-false},"hairpinMode":true,
   "ipam":{"type":"host-local","ranges":[[{"subnet":"$POD_CIDR"}]],"routes":[{"dst":"0.0.0.0/0"}]}},
  {"type":"portmap","capabilities":{"portMappings":true}}]}
JSON
systemctl enable containerd
if $changed; then systemctl restart containerd; else systemctl start containerd; fi

deb=${DEB:-$(find "$lab/../dist" -maxdepth 1 -name 'deckhand_*_all.deb' 2>/dev/null | sort -V | tail -n 1)}
[ -f "$deb" ] || {
  echo "runtime.sh: there is no dist/deckhand_*_all.deb; run: npm ci && npm run generate && npm run build && npm run package" >&2
  exit 1
}
# dpkg and not apt-get: all that it depends on is here, and a newer build may have the same version.
dpkg --force-confold -i "$deb"
