#!/bin/sh
# A node on its own: the embedded API, and the pods of examples/ from images that need no registry. May run again.
#   POD_CIDR   the node's pods (default 10.244.1.0/24)
#   IMAGES     a folder of image archives to import (default: dist/images beside lab/)
# and what lab/runtime.sh takes.
set -eu
lab=$(cd "$(dirname "$0")" && pwd)
export POD_CIDR="${POD_CIDR:-10.244.1.0/24}" SANDBOX_IMAGE="${SANDBOX_IMAGE:-deckhand.local/pause:1}" POD_MASQUERADE=true
sh "$lab/runtime.sh"

for image in "${IMAGES:-$lab/../dist/images}"/*.tar; do
  [ ! -e "$image" ] || ctr --namespace k8s.io images import "$image"
done
cp "$lab"/../examples/*.yaml /etc/deckhand/manifests/
cat >/etc/default/deckhand <<ENV
DECKHAND_ARGS=--config /etc/deckhand/config.yaml --manifests /etc/deckhand/manifests --pod-cidr $POD_CIDR
ENV
cat >/usr/local/bin/lab-kubectl <<'SH'
#!/bin/sh
exec kubectl --kubeconfig /var/lib/deckhand/kubeconfig "$@"
SH
chmod 755 /usr/local/bin/lab-kubectl
command -v kubectl >/dev/null || apt-get -qq install --yes --no-install-recommends kubernetes-client ||
  echo 'standalone.sh: no kubectl here; deckhand runs without it'
systemctl enable deckhand
systemctl restart deckhand
