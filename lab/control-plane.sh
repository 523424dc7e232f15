#!/bin/sh
# A control plane: kind in Docker, reachable from other machines, with Nodes, a token and rights for deckhand's workers. May
# run again.
#   CONTROL_PLANE_IP   this machine's address for the workers
#   LAB_SUBNET         the network of all machines, such as 192.168.56.0/24
#   WORKERS            "NAME=ADDRESS=POD_RANGE …"
#   TOKEN              the bootstrap token to make, ID.SECRET
#   CLUSTER_POD_CIDR   default 10.244.0.0/16 (kind's own pods get its first /24)
#   SERVICE_CIDR       default 10.96.0.0/16
#   KIND_SUBNET        kind's Docker network, default 172.18.0.0/16
#   KIND_VERSION       default v0.30.0
#   NODE_IMAGE         kind's node image, where it is not that of its release
set -eu
: "${CONTROL_PLANE_IP:?}" "${LAB_SUBNET:?}" "${WORKERS:?}" "${TOKEN:?}"
cluster_pod_cidr=${CLUSTER_POD_CIDR:-10.244.0.0/16}
kind_subnet=${KIND_SUBNET:-172.18.0.0/16}
kind_version=${KIND_VERSION:-v0.30.0}
lab=$(cd "$(dirname "$0")" && pwd)
node=deckhand-lab-control-plane
bridge=br-kind
export DEBIAN_FRONTEND=noninteractive

if ! command -v docker >/dev/null || ! command -v curl >/dev/null; then
  apt-get -qq update
  apt-get -qq install --yes --no-install-recommends docker.io docker-cli curl ca-certificates iptables iproute2 ||
    apt-get -qq install --yes --no-install-recommends docker.io curl ca-certificates iptables iproute2
fi
systemctl enable --now docker

if [ "$(kind version -q 2>/dev/null)" != "${kind_version#v}" ]; then
  file=kind-linux-$(dpkg --print-architecture)
  url=https://github.com/kubernetes-sigs/kind/releases/download/$kind_version
  folder=$(mktemp -d)
  (
    cd "$folder"
    curl -fsSL --retry 5 -O "$url/$file" -O "$url/$file.sha256sum"
    sha256sum -c "$file.sha256sum"
    install -m 755 "$file" /usr/local/bin/kind
  )
  rm -r "$folder"
fi

# kind takes a network of this name as it is; its range and its bridge are known in advance this way.
docker network inspect kind >/dev/null 2>&1 ||
  docker network create --subnet "$kind_subnet" --opt com.docker.network.bridge.name=$bridge kind
if ! kind get clusters 2>/dev/null | grep -qx deckhand-lab; then
  kind create cluster --name deckhand-lab ${NODE_IMAGE:+--image "$NODE_IMAGE"} --wait 5m --config - <<YAML
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
networking:
  apiServerAddress: "$CONTROL_PLANE_IP"
  apiServerPort: 6443
  podSubnet: "$cluster_pod_cidr"
  serviceSubnet: "${SERVICE_CIDR:-10.96.0.0/16}"
nodes:
  - role: control-plane
YAML
fi
cat >/usr/local/bin/lab-kubectl <<SH
#!/bin/sh
exec docker exec -i $node kubectl --kubeconfig /etc/kubernetes/admin.conf "\$@"
SH
chmod 755 /usr/local/bin/lab-kubectl

# deckhand is the nodes' kube-proxy, and the lab's routes are their network.
for daemonset in kube-proxy kindnet; do
  lab-kubectl -n kube-system patch daemonset $daemonset -p '{"spec":{"template":{"spec":{"affinity":{"nodeAffinity":
    {"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[{"matchExpressions":
    [{"key":"deckhand.dev/agent","operator":"DoesNotExist"}]}]}}}}}}}'
done
docker exec $node kubeadm token list -o jsonpath='{.token}{"\n"}' | grep -qxF "$TOKEN" ||
  docker exec $node kubeadm token create "$TOKEN" --ttl 0

peers=
for worker in $WORKERS; do
  name=${worker%%=*} rest=${worker#*=}
  address=${rest%%=*} range=${rest#*=}
  peers="$peers $range=$address"
  # The range can be given to a Node only before it has one.
  lab-kubectl get node "$name" >/dev/null 2>&1 || lab-kubectl create -f - <<YAML
apiVersion: v1
kind: Node
metadata:
  name: $name
  labels: {deckhand.dev/agent: deckhand}
spec:
  podCIDR: $range
  podCIDRs: [$range]
YAML
  # A node's own identity may not list EndpointSlices.
  lab-kubectl get clusterrolebinding "deckhand-$name" >/dev/null 2>&1 ||
    lab-kubectl create clusterrolebinding "deckhand-$name" --clusterrole=system:node-proxier --user="system:node:$name"
done

# At each boot, once kind's container runs: routes are lost with its network namespace, Docker writes its rules anew.
install -D -m 755 "$lab/pod-network.sh" /usr/local/lib/deckhand-lab/pod-network.sh
POD_CIDR='' CLUSTER_POD_CIDR=$cluster_pod_cidr PEERS=$peers sh "$lab/pod-network.sh" install
cat >/usr/local/lib/deckhand-lab/kind-network.sh <<SH
#!/bin/sh
set -eu
until [ "\$(docker inspect -f '{{.State.Running}}' $node 2>/dev/null)" = true ]; do sleep 2; done
# The pods in kind are behind its container.
address=\$(docker inspect -f '{{.NetworkSettings.Networks.kind.IPAddress}}' $node)
range=\$(docker exec $node kubectl --kubeconfig /etc/kubernetes/admin.conf get node $node -o jsonpath='{.spec.podCIDR}')
ip route replace "\$range" via "\$address"
# kindnet routes to workers as if they were its neighbours; this machine answers for them.
sysctl -q -w net.ipv4.conf.$bridge.proxy_arp=1
docker exec $node ip route replace $LAB_SUBNET dev eth0
# Docker lets in only what it published.
for source in $LAB_SUBNET $cluster_pod_cidr; do
  iptables -C DOCKER-USER -s \$source -j ACCEPT 2>/dev/null || iptables -I DOCKER-USER -s \$source -j ACCEPT
done
SH
cat >/etc/systemd/system/deckhand-lab-kind.service <<'UNIT'
[Unit]
Description=routes between kind and the lab's other machines
After=docker.service deckhand-lab-network.service
Requires=docker.service
PartOf=docker.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh /usr/local/lib/deckhand-lab/kind-network.sh
Restart=on-failure
RestartSec=5

[Install]
WantedBy=multi-user.target
UNIT
systemctl daemon-reload
systemctl enable deckhand-lab-kind.service
systemctl restart deckhand-lab-kind.service
