#!/bin/sh
# A node of a cluster: joins by a bootstrap token. May run again; a node that has joined keeps its certificate.
#   NODE_NAME          as the cluster knows it (default: the host's name)
#   NODE_IP            the address by which other nodes reach this one
#   POD_CIDR           this node's pods, as its Node says
#   CLUSTER_POD_CIDR   the pods of the whole cluster, such as 10.244.0.0/16
#   PEERS              routes to the others, "RANGE=ADDRESS …" (lab/pod-network.sh)
#   API_SERVER         https://ADDRESS:PORT
#   TOKEN              the bootstrap token, ID.SECRET
#   CLUSTER_DNS        default 10.96.0.10
#   CA_FILE            the cluster's CA, where it is not to be asked for by the token
# and what lab/runtime.sh takes.
set -eu
: "${NODE_IP:?}" "${POD_CIDR:?}" "${CLUSTER_POD_CIDR:?}" "${API_SERVER:?}" "${TOKEN:?}"
lab=$(cd "$(dirname "$0")" && pwd)
name=${NODE_NAME:-$(hostname)}
sh "$lab/runtime.sh"

install -D -m 755 "$lab/pod-network.sh" /usr/local/lib/deckhand-lab/pod-network.sh
POD_CIDR=$POD_CIDR CLUSTER_POD_CIDR=$CLUSTER_POD_CIDR PEERS=${PEERS:-} sh "$lab/pod-network.sh" install

mkdir -p /etc/kubernetes/pki
if [ -n "${CA_FILE:-}" ]; then
  install -m 644 "$CA_FILE" /etc/kubernetes/pki/ca.crt
elif [ ! -s /etc/kubernetes/pki/ca.crt ]; then
  node "$lab/discover-ca.mjs" "$API_SERVER" "$TOKEN" >/etc/kubernetes/pki/ca.crt.new
  mv /etc/kubernetes/pki/ca.crt.new /etc/kubernetes/pki/ca.crt
fi

(
  umask 077
  cat >/etc/kubernetes/bootstrap-kubelet.conf <<YAML
apiVersion: v1
kind: Config
current-context: bootstrap
clusters: [{name: cluster, cluster: {server: "$API_SERVER", certificate-authority: /etc/kubernetes/pki/ca.crt}}]
users: [{name: bootstrap, user: {token: "$TOKEN"}}]
contexts: [{name: bootstrap, context: {cluster: cluster, user: bootstrap}}]
YAML
)
cat >/etc/deckhand/lab.yaml <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
clusterDNS: ["${CLUSTER_DNS:-10.96.0.10}"]
clusterDomain: cluster.local
rotateCertificates: true
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: /etc/kubernetes/pki/ca.crt}
authorization: {mode: Webhook}
---
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clusterCIDR: $CLUSTER_POD_CIDR
YAML
cat >/etc/default/deckhand <<ENV
DECKHAND_ARGS=--config /etc/deckhand/lab.yaml --bootstrap-kubeconfig /etc/kubernetes/bootstrap-kubelet.conf --kubeconfig /etc/kubernetes/kubelet.conf --hostname-override $name --node-ip $NODE_IP
ENV
systemctl enable deckhand
# Not waited for: it counts as started once it has joined, which it goes on trying.
systemctl restart --no-block deckhand
