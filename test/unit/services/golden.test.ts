import { describe, expect, it } from 'vitest';
import type { ServiceSpec } from '../../../src/model/service.ts';
import { sha256 } from '../../../src/services/act/sha256.ts';
import { serviceRules } from '../../../src/services/policy/service-rules.ts';
import { chainName } from '../../../src/services/render/iptables/chain-name.ts';
import { renderServicePort } from '../../../src/services/render/iptables/render-service-port.ts';
import { base, facts, here, service, slice, there } from './support/objects.ts';
import { startedWorld } from './support/world.ts';

function render(
  spec: Partial<ServiceSpec>,
  endpoints: Parameters<typeof slice>[1],
  status?: Parameters<typeof service>[2],
): string {
  const slices = endpoints.length === 0 ? [] : [slice('ns1/svc1', endpoints, { ports: [{ name: 'p80', port: 80 }] })];
  const { rules, problems } = serviceRules({
    service: service('ns1/svc1', { clusterIP: '172.30.0.41', ...spec }, status),
    slices,
    family: 'IPv4',
    facts,
    local: () => undefined,
  });
  expect(problems).toEqual([]);
  return rules
    .map((one) => renderServicePort(one, base, sha256))
    .flatMap(({ dispatch, chains }) => [
      ...dispatch.map(({ table, chain, rule }) => `${table} ${chain}: ${rule}`),
      ...chains.flatMap(({ name, rules: lines }) => [`[${name}]`, ...lines]),
    ])
    .join('\n');
}

describe('golden text', () => {
  it('names chains as kube-proxy does (names from its own tests)', () => {
    const names = [
      chainName('KUBE-SVC-', 'ns1/svc1:p80tcp', sha256),
      chainName('KUBE-EXT-', 'ns2/svc2:p80tcp', sha256),
      chainName('KUBE-FW-', 'ns5/svc5:p80tcp', sha256),
      chainName('KUBE-SVL-', 'ns2/svc2:p80tcp', sha256),
      chainName('KUBE-SEP-', 'ns1/svc1:p80tcp10.180.0.1:80', sha256),
    ];
    expect(names).toEqual([
      'KUBE-SVC-XPGD46QRK7WJZT7O',
      'KUBE-EXT-GNZBNJ2PO5MGZ6GT',
      'KUBE-FW-NUKIZ6OKUXPJNT4C',
      'KUBE-SVL-GNZBNJ2PO5MGZ6GT',
      'KUBE-SEP-SXIVWICOYRO3J4NJ',
    ]);
  });

  it('a cluster IP with three endpoints', () => {
    expect(render({}, ['10.180.0.1', '10.180.0.2', '10.180.0.3'])).toBe(
      `nat KUBE-SERVICES: -d 172.30.0.41/32 -p tcp -m comment --comment "ns1/svc1:p80 cluster IP" -m tcp --dport 80 -j KUBE-SVC-XPGD46QRK7WJZT7O
[KUBE-SEP-SXIVWICOYRO3J4NJ]
-s 10.180.0.1/32 -m comment --comment "ns1/svc1:p80" -j KUBE-MARK-MASQ
-p tcp -m comment --comment "ns1/svc1:p80" -m tcp -j DNAT --to-destination 10.180.0.1:80
[KUBE-SEP-LXVODXWDISEETFEF]
-s 10.180.0.2/32 -m comment --comment "ns1/svc1:p80" -j KUBE-MARK-MASQ
-p tcp -m comment --comment "ns1/svc1:p80" -m tcp -j DNAT --to-destination 10.180.0.2:80
[KUBE-SEP-ICDUIKC33SFI6ZPR]
-s 10.180.0.3/32 -m comment --comment "ns1/svc1:p80" -j KUBE-MARK-MASQ
-p tcp -m comment --comment "ns1/svc1:p80" -m tcp -j DNAT --to-destination 10.180.0.3:80
[KUBE-SVC-XPGD46QRK7WJZT7O]
! -s 10.1.0.0/16 -d 172.30.0.41/32 -p tcp -m comment --comment "ns1/svc1:p80 cluster IP" -m tcp --dport 80 -j KUBE-MARK-MASQ
-m comment --comment "ns1/svc1:p80 -> 10.180.0.1:80" -m statistic --mode random --probability 0.33333333349 -j KUBE-SEP-SXIVWICOYRO3J4NJ
-m comment --comment "ns1/svc1:p80 -> 10.180.0.2:80" -m statistic --mode random --probability 0.50000000000 -j KUBE-SEP-LXVODXWDISEETFEF
-m comment --comment "ns1/svc1:p80 -> 10.180.0.3:80" -j KUBE-SEP-ICDUIKC33SFI6ZPR`,
    );
  });

  it('no endpoints', () => {
    const ports = [{ name: 'p80', port: 80, nodePort: 30_080 }];
    expect(render({ type: 'NodePort', ports, externalIPs: ['192.0.2.1'] }, [])).toBe(
      `filter KUBE-SERVICES: -d 172.30.0.41/32 -p tcp -m comment --comment "ns1/svc1:p80 has no endpoints" -m tcp --dport 80 -j REJECT --reject-with icmp-port-unreachable
filter KUBE-EXTERNAL-SERVICES: -d 192.0.2.1/32 -p tcp -m comment --comment "ns1/svc1:p80 has no endpoints" -m tcp --dport 80 -j REJECT --reject-with icmp-port-unreachable
filter KUBE-EXTERNAL-SERVICES: -p tcp -m comment --comment "ns1/svc1:p80 has no endpoints" -m addrtype --dst-type LOCAL -m tcp --dport 30080 -j REJECT --reject-with icmp-port-unreachable`,
    );
  });

  it('a balancer with policy Local, affinity, source ranges and a health check port', () => {
    const text = render(
      {
        type: 'LoadBalancer',
        externalTrafficPolicy: 'Local',
        ports: [{ name: 'p80', port: 80, nodePort: 30_080 }],
        sessionAffinity: 'ClientIP',
        healthCheckNodePort: 31_000,
        loadBalancerSourceRanges: ['192.168.0.0/24'],
      },
      [here('10.180.0.1'), there('10.180.0.2')],
      { loadBalancer: { ingress: [{ ip: '192.0.2.9' }] } },
    );
    expect(text).toBe(
      `nat KUBE-SERVICES: -d 172.30.0.41/32 -p tcp -m comment --comment "ns1/svc1:p80 cluster IP" -m tcp --dport 80 -j KUBE-SVC-XPGD46QRK7WJZT7O
nat KUBE-SERVICES: -d 192.0.2.9/32 -p tcp -m comment --comment "ns1/svc1:p80 loadbalancer IP" -m tcp --dport 80 -j KUBE-FW-XPGD46QRK7WJZT7O
filter KUBE-PROXY-FIREWALL: -d 192.0.2.9/32 -p tcp -m comment --comment "ns1/svc1:p80 traffic not accepted by KUBE-FW-XPGD46QRK7WJZT7O" -m tcp --dport 80 -j DROP
nat KUBE-NODEPORTS: -p tcp -m comment --comment "ns1/svc1:p80" -m tcp --dport 30080 -j KUBE-EXT-XPGD46QRK7WJZT7O
filter KUBE-NODEPORTS: -p tcp -m comment --comment "ns1/svc1:p80 health check node port" -m tcp --dport 31000 -j ACCEPT
[KUBE-SEP-SXIVWICOYRO3J4NJ]
-s 10.180.0.1/32 -m comment --comment "ns1/svc1:p80" -j KUBE-MARK-MASQ
-p tcp -m comment --comment "ns1/svc1:p80" -m recent --set --name KUBE-SEP-SXIVWICOYRO3J4NJ --mask 255.255.255.255 --rsource -m tcp -j DNAT --to-destination 10.180.0.1:80
[KUBE-SEP-LXVODXWDISEETFEF]
-s 10.180.0.2/32 -m comment --comment "ns1/svc1:p80" -j KUBE-MARK-MASQ
-p tcp -m comment --comment "ns1/svc1:p80" -m recent --set --name KUBE-SEP-LXVODXWDISEETFEF --mask 255.255.255.255 --rsource -m tcp -j DNAT --to-destination 10.180.0.2:80
[KUBE-SVC-XPGD46QRK7WJZT7O]
! -s 10.1.0.0/16 -d 172.30.0.41/32 -p tcp -m comment --comment "ns1/svc1:p80 cluster IP" -m tcp --dport 80 -j KUBE-MARK-MASQ
-m comment --comment "ns1/svc1:p80 -> 10.180.0.1:80" -m recent --rcheck --seconds 10800 --reap --name KUBE-SEP-SXIVWICOYRO3J4NJ --mask 255.255.255.255 --rsource -j KUBE-SEP-SXIVWICOYRO3J4NJ
-m comment --comment "ns1/svc1:p80 -> 10.180.0.2:80" -m recent --rcheck --seconds 10800 --reap --name KUBE-SEP-LXVODXWDISEETFEF --mask 255.255.255.255 --rsource -j KUBE-SEP-LXVODXWDISEETFEF
-m comment --comment "ns1/svc1:p80 -> 10.180.0.1:80" -m statistic --mode random --probability 0.50000000000 -j KUBE-SEP-SXIVWICOYRO3J4NJ
-m comment --comment "ns1/svc1:p80 -> 10.180.0.2:80" -j KUBE-SEP-LXVODXWDISEETFEF
[KUBE-SVL-XPGD46QRK7WJZT7O]
-m comment --comment "ns1/svc1:p80 -> 10.180.0.1:80" -m recent --rcheck --seconds 10800 --reap --name KUBE-SEP-SXIVWICOYRO3J4NJ --mask 255.255.255.255 --rsource -j KUBE-SEP-SXIVWICOYRO3J4NJ
-m comment --comment "ns1/svc1:p80 -> 10.180.0.1:80" -j KUBE-SEP-SXIVWICOYRO3J4NJ
[KUBE-EXT-XPGD46QRK7WJZT7O]
-s 10.1.0.0/16 -m comment --comment "pod traffic for ns1/svc1:p80 external destinations" -j KUBE-SVC-XPGD46QRK7WJZT7O
-m comment --comment "masquerade LOCAL traffic for ns1/svc1:p80 external destinations" -m addrtype --src-type LOCAL -j KUBE-MARK-MASQ
-m comment --comment "route LOCAL traffic for ns1/svc1:p80 external destinations" -m addrtype --src-type LOCAL -j KUBE-SVC-XPGD46QRK7WJZT7O
-j KUBE-SVL-XPGD46QRK7WJZT7O
[KUBE-FW-XPGD46QRK7WJZT7O]
-s 192.168.0.0/24 -m comment --comment "ns1/svc1:p80 loadbalancer IP" -j KUBE-EXT-XPGD46QRK7WJZT7O
-s 192.0.2.9/32 -m comment --comment "ns1/svc1:p80 loadbalancer IP" -j KUBE-EXT-XPGD46QRK7WJZT7O
-m comment --comment "other traffic to ns1/svc1:p80 will be dropped by KUBE-PROXY-FIREWALL"`,
    );
  });

  it('what stands there without any Service', async () => {
    const { kernel } = await startedWorld({ loop: { facts: { ...facts, localhostNodePorts: true } } });
    const text = (await kernel.save()).split('\n').filter((line) => /^(-A|\*)/.test(line));
    expect(text.join('\n')).toBe(
      `*filter
-A FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL
-A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD
-A FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES
-A INPUT -j KUBE-FIREWALL
-A INPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL
-A INPUT -m comment --comment "kubernetes health check service ports" -j KUBE-NODEPORTS
-A INPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES
-A OUTPUT -j KUBE-FIREWALL
-A OUTPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL
-A OUTPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment "block incoming localnet connections" -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP
-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
-A KUBE-FORWARD -m comment --comment "kubernetes forwarding rules" -m mark --mark 0x4000/0x4000 -j ACCEPT
-A KUBE-FORWARD -m comment --comment "kubernetes forwarding conntrack rule" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A KUBE-PROXY-CANARY -m comment --comment "deckhand sees by this rule that nobody flushed its rules"
*nat
-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully
-A KUBE-PROXY-CANARY -m comment --comment "deckhand sees by this rule that nobody flushed its rules"
-A KUBE-SERVICES -m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
*mangle`,
    );
  });
});
