import { describe, expect, it } from 'vitest';
import type { IPFamily, ServiceSpec } from '../../../../src/model/service.ts';
import { serviceRules } from '../../../../src/services/policy/service-rules.ts';
import { renderIpvsPort } from '../../../../src/services/render/ipvs/render-service.ts';
import { setDefinitions } from '../../../../src/services/render/ipvs/sets.ts';
import { base, facts, here, nodeIP, service, slice, there } from '../support/objects.ts';
import { startedWorld } from '../support/world.ts';
import { IpvsFakeKernel } from './ipvs-kernel.ts';

function render(
  spec: Partial<ServiceSpec>,
  endpoints: Parameters<typeof slice>[1],
  options: {
    readonly status?: Parameters<typeof service>[2];
    readonly scheduler?: string;
    readonly family?: IPFamily;
  } = {},
): string {
  const { status, scheduler = 'rr', family = 'IPv4' } = options;
  const { rules, problems } = serviceRules({
    service: service('ns1/svc1', { clusterIP: '172.30.0.41', ...spec }, status),
    slices: endpoints.length === 0 ? [] : [slice('ns1/svc1', endpoints, { addressType: family })],
    family,
    facts,
    local: () => undefined,
  });
  expect(problems).toEqual([]);
  const here_ = { ...base, family, nodeAddresses: family === 'IPv4' ? [nodeIP] : ['fd00:1::2'] };
  return rules
    .map((one) => renderIpvsPort(one, here_, { scheduler }))
    .flatMap(({ servers, addresses, members, outFilter }) => [
      ...servers.map(({ id, options: how, reals }) => `${id} ${how}: ${reals.join(' ')}`.trimEnd()),
      ...addresses.map((address) => `@ ${address}`),
      ...members,
      ...outFilter,
    ])
    .join('\n');
}

describe('golden text of IPVS', () => {
  it('a cluster IP with endpoints here and elsewhere', () => {
    expect(render({}, [here('10.180.0.1'), there('10.180.0.2')])).toBe(
      `-t 172.30.0.41:80 -s rr: 10.180.0.1:8080 10.180.0.2:8080
@ 172.30.0.41
KUBE-LOOP-BACK 10.180.0.1,tcp:8080,10.180.0.1
KUBE-IPVS-IPS 172.30.0.41
KUBE-CLUSTER-IP 172.30.0.41,tcp:80`,
    );
  });

  it('no endpoint: the virtual server is there and refuses', () => {
    const ports = [{ name: 'p80', port: 80, nodePort: 30_080 }];
    expect(render({ type: 'NodePort', ports, externalIPs: ['192.0.2.1'] }, [])).toBe(
      `-t 172.30.0.41:80 -s rr:
-t 192.0.2.1:80 -s rr:
-t ${nodeIP}:30080 -s rr:
@ 172.30.0.41
@ 192.0.2.1
KUBE-IPVS-IPS 172.30.0.41
KUBE-CLUSTER-IP 172.30.0.41,tcp:80
KUBE-IPVS-IPS 192.0.2.1
KUBE-EXTERNAL-IP 192.0.2.1,tcp:80
KUBE-NODE-PORT-TCP 30080`,
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
        loadBalancerSourceRanges: ['203.0.113.0/24', '198.51.100.7/32'],
      },
      [here('10.180.0.1'), there('10.180.0.2')],
      { status: { loadBalancer: { ingress: [{ ip: '192.0.2.9' }] } } },
    );
    expect(text).toBe(
      `-t 172.30.0.41:80 -s rr -p 10800: 10.180.0.1:8080 10.180.0.2:8080
-t 192.0.2.9:80 -s rr -p 10800: 10.180.0.1:8080
-t ${nodeIP}:30080 -s rr -p 10800: 10.180.0.1:8080
@ 172.30.0.41
@ 192.0.2.9
KUBE-LOOP-BACK 10.180.0.1,tcp:8080,10.180.0.1
KUBE-IPVS-IPS 172.30.0.41
KUBE-CLUSTER-IP 172.30.0.41,tcp:80
KUBE-IPVS-IPS 192.0.2.9
KUBE-LOAD-BALANCER 192.0.2.9,tcp:80
KUBE-LOAD-BALANCER-LOCAL 192.0.2.9,tcp:80
KUBE-LOAD-BALANCER-FW 192.0.2.9,tcp:80
KUBE-LOAD-BALANCER-SOURCE-CIDR 192.0.2.9,tcp:80,203.0.113.0/24
KUBE-LOAD-BALANCER-SOURCE-CIDR 192.0.2.9,tcp:80,198.51.100.7
KUBE-NODE-PORT-TCP 30080
KUBE-NODE-PORT-LOCAL-TCP 30080
KUBE-HEALTH-CHECK-NODE-PORT 31000
-m addrtype --src-type LOCAL -m ipvs --vproto 6 --vaddr 192.0.2.9/32 --vport 80 -j DROP`,
    );
  });

  it('policy Local without an endpoint here: pods and the node reach the others, the world is dropped', () => {
    const ports = [{ name: 'p80', port: 80, nodePort: 30_080 }];
    const outside = render({ type: 'NodePort', ports, externalTrafficPolicy: 'Local' }, [there('10.180.0.2')]);
    expect(outside).toContain(`-t ${nodeIP}:30080 -s rr: 10.180.0.2:8080`);
    expect(outside).toContain(`KUBE-NO-LOCAL-OUTSIDE ${nodeIP},tcp:30080`);
    expect(render({ internalTrafficPolicy: 'Local' }, [there('10.180.0.2')])).toBe(
      `-t 172.30.0.41:80 -s rr:
@ 172.30.0.41
KUBE-IPVS-IPS 172.30.0.41
KUBE-CLUSTER-IP 172.30.0.41,tcp:80
KUBE-NO-LOCAL 172.30.0.41,tcp:80`,
    );
  });

  it('UDP and SCTP, IPv6, and a scheduler that looks at the port too', () => {
    const ports = [
      { name: 'dns', protocol: 'UDP' as const, port: 53, nodePort: 30_053 },
      { name: 'sctp', protocol: 'SCTP' as const, port: 54, nodePort: 30_054 },
    ];
    const spec = { type: 'NodePort' as const, clusterIP: 'fd00:96::7', ports };
    expect(render(spec, [], { family: 'IPv6', scheduler: 'mh' })).toBe(
      `-u [fd00:96::7]:53 -s mh -b mh-port:
-u [fd00:1::2]:30053 -s mh -b mh-port:
@ fd00:96::7
KUBE-6-IPVS-IPS fd00:96::7
KUBE-6-CLUSTER-IP fd00:96::7,udp:53
KUBE-6-NODE-PORT-UDP 30053
--sctp-service [fd00:96::7]:54 -s mh -b mh-port:
--sctp-service [fd00:1::2]:30054 -s mh -b mh-port:
@ fd00:96::7
KUBE-6-IPVS-IPS fd00:96::7
KUBE-6-CLUSTER-IP fd00:96::7,sctp:54
KUBE-6-NODE-PORT-SCTP-HASH fd00:1::2,sctp:30054`,
    );
  });

  it('an external IP that the node has anyway is not given to the device', () => {
    const text = render({ externalIPs: [nodeIP] }, [there('10.180.0.2')]);
    expect(text).toContain(`-t ${nodeIP}:80 -s rr: 10.180.0.2:8080`);
    expect(text).not.toContain(`@ ${nodeIP}`);
    expect(text).not.toContain(`KUBE-IPVS-IPS ${nodeIP}`);
  });

  it('names of sets are kube-proxy’s, cut to what the kernel takes', () => {
    for (const family of ['IPv4', 'IPv6'] as const) {
      const names = [...setDefinitions(family).keys()];
      expect(new Set(names).size).toBe(19);
      expect(Math.max(...names.map((name) => name.length))).toBeLessThanOrEqual(31);
    }
    expect([...setDefinitions('IPv6').keys()]).toContain('KUBE-6-LOAD-BALANCER-SOURCE-CID');
  });

  it('what stands there without any Service', async () => {
    const kernel = new IpvsFakeKernel();
    await startedWorld({ backend: kernel.backend() });
    const text = (await kernel.iptables.save()).split('\n').filter((line) => /^(-A|\*)/.test(line));
    expect(text.join('\n')).toBe(
      `*filter
-A FORWARD -m conntrack --ctstate NEW -m comment --comment "kube-proxy firewall rules" -j KUBE-PROXY-FIREWALL
-A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD
-A INPUT -m comment --comment "kubernetes ipvs access filter" -j KUBE-IPVS-FILTER
-A INPUT -m conntrack --ctstate NEW -m comment --comment "kube-proxy firewall rules" -j KUBE-PROXY-FIREWALL
-A INPUT -m comment --comment "kubernetes health check rules" -j KUBE-NODE-PORT
-A OUTPUT -m comment --comment "kubernetes ipvs access filter" -j KUBE-IPVS-OUT-FILTER
-A KUBE-FORWARD -m comment --comment "kubernetes forwarding rules" -m mark --mark 0x4000/0x4000 -j ACCEPT
-A KUBE-FORWARD -m comment --comment "kubernetes forwarding conntrack rule" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A KUBE-IPVS-FILTER -m comment --comment "policy Local without an endpoint here" -m conntrack --ctstate NEW -m set --match-set KUBE-NO-LOCAL dst,dst -j DROP
-A KUBE-IPVS-FILTER ! -s 10.1.0.0/16 -m comment --comment "from outside, policy Local" -m conntrack --ctstate NEW -m set --match-set KUBE-NO-LOCAL-OUTSIDE dst,dst -j DROP
-A KUBE-IPVS-FILTER -m set --match-set KUBE-LOAD-BALANCER dst,dst -j RETURN
-A KUBE-IPVS-FILTER -m set --match-set KUBE-CLUSTER-IP dst,dst -j RETURN
-A KUBE-IPVS-FILTER -m set --match-set KUBE-EXTERNAL-IP dst,dst -j RETURN
-A KUBE-IPVS-FILTER -m set --match-set KUBE-EXTERNAL-IP-LOCAL dst,dst -j RETURN
-A KUBE-IPVS-FILTER -m set --match-set KUBE-HEALTH-CHECK-NODE-PORT dst -j RETURN
-A KUBE-IPVS-FILTER -m conntrack --ctstate NEW -m set --match-set KUBE-IPVS-IPS dst -j REJECT --reject-with icmp-port-unreachable
-A KUBE-NODE-PORT -m comment --comment "Kubernetes health check node port" -m set --match-set KUBE-HEALTH-CHECK-NODE-PORT dst -j ACCEPT
-A KUBE-PROXY-CANARY -m comment --comment "deckhand sees by this rule that nobody flushed its rules"
-A KUBE-PROXY-FIREWALL -m comment --comment "load balancers with source ranges" -m set --match-set KUBE-LOAD-BALANCER-FW dst,dst -j KUBE-SOURCE-RANGES-FIREWALL
-A KUBE-SOURCE-RANGES-FIREWALL -m set --match-set KUBE-LOAD-BALANCER-SOURCE-CIDR dst,dst,src -j RETURN
-A KUBE-SOURCE-RANGES-FIREWALL -m set --match-set KUBE-LOAD-BALANCER-SOURCE-IP dst,dst,src -j RETURN
-A KUBE-SOURCE-RANGES-FIREWALL -j DROP
*nat
-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A KUBE-LOAD-BALANCER -m set --match-set KUBE-LOAD-BALANCER-LOCAL dst,dst -m addrtype --src-type LOCAL -j KUBE-MARK-MASQ
-A KUBE-LOAD-BALANCER -m set --match-set KUBE-LOAD-BALANCER-LOCAL dst,dst -j RETURN
-A KUBE-LOAD-BALANCER -j KUBE-MARK-MASQ
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
-A KUBE-NODE-PORT -p tcp -m set --match-set KUBE-NODE-PORT-LOCAL-TCP dst -m addrtype --src-type LOCAL -j KUBE-MARK-MASQ
-A KUBE-NODE-PORT -p tcp -m set --match-set KUBE-NODE-PORT-LOCAL-TCP dst -j RETURN
-A KUBE-NODE-PORT -p tcp -m set --match-set KUBE-NODE-PORT-TCP dst -j KUBE-MARK-MASQ
-A KUBE-NODE-PORT -p udp -m set --match-set KUBE-NODE-PORT-LOCAL-UDP dst -m addrtype --src-type LOCAL -j KUBE-MARK-MASQ
-A KUBE-NODE-PORT -p udp -m set --match-set KUBE-NODE-PORT-LOCAL-UDP dst -j RETURN
-A KUBE-NODE-PORT -p udp -m set --match-set KUBE-NODE-PORT-UDP dst -j KUBE-MARK-MASQ
-A KUBE-NODE-PORT -p sctp -m set --match-set KUBE-NODE-PORT-LOCAL-SCTP-HASH dst,dst -m addrtype --src-type LOCAL -j KUBE-MARK-MASQ
-A KUBE-NODE-PORT -p sctp -m set --match-set KUBE-NODE-PORT-LOCAL-SCTP-HASH dst,dst -j RETURN
-A KUBE-NODE-PORT -p sctp -m set --match-set KUBE-NODE-PORT-SCTP-HASH dst,dst -j KUBE-MARK-MASQ
-A KUBE-POSTROUTING -m comment --comment "an endpoint that is its own client" -m set --match-set KUBE-LOOP-BACK dst,dst,src -j MASQUERADE
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully
-A KUBE-PROXY-CANARY -m comment --comment "deckhand sees by this rule that nobody flushed its rules"
-A KUBE-SERVICES -s 127.0.0.0/8 -j RETURN
-A KUBE-SERVICES -m comment --comment "load balancers" -m set --match-set KUBE-LOAD-BALANCER dst,dst -j KUBE-LOAD-BALANCER
-A KUBE-SERVICES ! -s 10.1.0.0/16 -m comment --comment "cluster IPs" -m set --match-set KUBE-CLUSTER-IP dst,dst -j KUBE-MARK-MASQ
-A KUBE-SERVICES -m comment --comment "external IPs" -m set --match-set KUBE-EXTERNAL-IP dst,dst -j KUBE-MARK-MASQ
-A KUBE-SERVICES -m comment --comment "external IPs of policy Local" -m set --match-set KUBE-EXTERNAL-IP-LOCAL dst,dst -m addrtype --src-type LOCAL -j KUBE-MARK-MASQ
-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODE-PORT
-A KUBE-SERVICES -m set --match-set KUBE-CLUSTER-IP dst,dst -j ACCEPT
-A KUBE-SERVICES -m set --match-set KUBE-LOAD-BALANCER dst,dst -j ACCEPT
-A KUBE-SERVICES -m set --match-set KUBE-EXTERNAL-IP dst,dst -j ACCEPT
-A KUBE-SERVICES -m set --match-set KUBE-EXTERNAL-IP-LOCAL dst,dst -j ACCEPT
*mangle`,
    );
    expect((await kernel.ipvs.save()) + (await kernel.device.read())?.alias).toBe('deckhand');
  });
});
