#!/bin/sh
# Leads to the pods of other machines: one route a machine, no encapsulation. Pods keep their addresses among each other and
# take the machine's towards the world. May run again; a route that is no longer wanted goes.
#   POD_CIDR           this machine's pods; empty: none (control-plane.sh: they are kind's)
#   CLUSTER_POD_CIDR   the pods of all machines
#   PEERS              "RANGE=ADDRESS …": behind which address each other range is
# With the argument "install" it also sees to it that it runs at each boot, with these values; it must then lie in
# /usr/local/lib/deckhand-lab.
set -eu
: "${CLUSTER_POD_CIDR:?}"
# Routes of this protocol number are ours (proto in ip-route(8); up to 255, none of /etc/iproute2/rt_protos).
proto=77

sysctl -q -w net.ipv4.ip_forward=1
wanted=
for peer in ${PEERS:-}; do
  range=${peer%%=*} gateway=${peer#*=}
  if [ "$range" = "$peer" ] || [ -z "$gateway" ]; then
    echo "pod-network.sh: PEERS has $peer; expected RANGE=ADDRESS, such as 10.244.2.0/24=192.168.56.12" >&2
    exit 1
  fi
  ip route replace "$range" via "$gateway" proto $proto
  wanted="$wanted $range"
done
ip route show proto $proto | while read -r range _; do
  case " $wanted " in
    *" $range "*) ;;
    *) ip route del "$range" proto $proto ;;
  esac
done

if [ -n "${POD_CIDR:-}" ]; then
  # One transaction: there is no moment without the rule.
  nft -f - <<NFT
table ip deckhand-lab
delete table ip deckhand-lab
table ip deckhand-lab {
  chain postrouting {
    type nat hook postrouting priority srcnat + 10;
    ip saddr $POD_CIDR ip daddr != $CLUSTER_POD_CIDR masquerade
  }
}
NFT
fi

[ "${1:-}" = install ] || exit 0
mkdir -p /etc/deckhand-lab
cat >/etc/deckhand-lab/pod-network.env <<ENV
POD_CIDR="${POD_CIDR:-}"
CLUSTER_POD_CIDR="$CLUSTER_POD_CIDR"
PEERS="${PEERS:-}"
ENV
cat >/etc/systemd/system/deckhand-lab-network.service <<'UNIT'
[Unit]
Description=routes to the pods of the lab's other machines
Wants=network-online.target
After=network-online.target
Before=deckhand.service

[Service]
Type=oneshot
RemainAfterExit=yes
EnvironmentFile=/etc/deckhand-lab/pod-network.env
ExecStart=/bin/sh /usr/local/lib/deckhand-lab/pod-network.sh

[Install]
WantedBy=multi-user.target
UNIT
systemctl daemon-reload
systemctl enable deckhand-lab-network.service
