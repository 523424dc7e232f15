import { beforeAll, describe, expect, it } from 'vitest';
import type { FakeIptables, Outcome, Packet } from '../../../src/host/iptables/fake.ts';
import type { ServiceLoopOptions } from '../../../src/services/loop.ts';
import { facts, here, nodeIP, service, slice, there } from './support/objects.ts';
import { startedWorld, type World } from './support/world.ts';

// Who sends. A pod of this node comes in by the bridge, the world outside by eth0, the node's own processes by nothing.
const clients = {
  pod: { source: '10.1.0.99', inInterface: 'cni0' },
  'a pod elsewhere': { source: '10.1.7.7', inInterface: 'eth0' },
  outside: { source: '203.0.113.50', inInterface: 'eth0' },
  'outside, not allowed': { source: '198.51.100.1', inInterface: 'eth0' },
  node: { source: nodeIP },
  'node by loopback': { source: '127.0.0.1' },
  'endpoint 1': { source: '10.1.0.1', inInterface: 'cni0' },
  'endpoint 2': { source: '10.1.0.2', inInterface: 'cni0' },
} satisfies Record<string, Pick<Packet, 'source' | 'inInterface'>>;

type Client = keyof typeof clients;

/** "drop", "reject", "pass" (untouched), or endpoints with "+m" when masqueraded, all as likely as the others. */
function words(outcomes: readonly Outcome[]): string {
  const texts = outcomes.map(({ verdict, to, masquerade }) =>
    verdict === 'accept' ? `${to ?? 'pass'}${masquerade ? '+m' : ''}` : verdict,
  );
  const even = outcomes.every(({ probability }) => Math.abs(probability - 1 / outcomes.length) < 1e-6);
  return `${texts.sort().join(' ')}${even ? '' : ' UNEVEN'}`;
}

function follow(kernel: FakeIptables, client: Client, to: string): string {
  const [, protocol = '', destination = '', port = ''] = /^(\w+) \[?([^\]]+?)\]?:(\d+)$/.exec(to) ?? [];
  return words(
    kernel.trace({ ...clients[client], destination, port: Number(port), protocol: protocol as Packet['protocol'] }),
  );
}

async function fill(world: World): Promise<void> {
  const three = [here('10.1.0.1'), here('10.1.0.2'), there('10.1.1.3')];
  const nodePort = (port: number, extra = {}) => ({
    type: 'NodePort' as const,
    ports: [{ name: 'p80', port: 80, nodePort: port }],
    ...extra,
  });
  const balancer = (port: number, extra = {}) => ({ ...nodePort(port), type: 'LoadBalancer' as const, ...extra });
  const vip = (ip: string) => ({ loadBalancer: { ingress: [{ ip }] } });
  world.services.put(
    service('ns/cluster', { clusterIP: '172.30.0.1' }),
    service('ns/none', nodePort(30_002, { clusterIP: '172.30.0.2', externalIPs: ['192.0.2.2'] })),
    service('ns/single', { clusterIP: '172.30.0.3' }),
    service('ns/node', nodePort(30_004, { clusterIP: '172.30.0.4', externalIPs: ['192.0.2.4'] })),
    service('ns/etp', balancer(30_005, { clusterIP: '172.30.0.5', externalTrafficPolicy: 'Local' }), vip('192.0.2.5')),
    service(
      'ns/etp-away',
      balancer(30_006, { clusterIP: '172.30.0.6', externalTrafficPolicy: 'Local', healthCheckNodePort: 31_006 }),
      vip('192.0.2.6'),
    ),
    service('ns/itp', { clusterIP: '172.30.0.7', internalTrafficPolicy: 'Local' }),
    service('ns/itp-away', nodePort(30_008, { clusterIP: '172.30.0.8', internalTrafficPolicy: 'Local' })),
    service(
      'ns/ranges',
      balancer(30_009, { clusterIP: '172.30.0.9', loadBalancerSourceRanges: ['203.0.113.0/24', ' 192.168.0.0/24 '] }),
      vip('192.0.2.9'),
    ),
    service('ns/terminating', { clusterIP: '172.30.0.10' }),
    service('ns/all-terminating', { clusterIP: '172.30.0.11' }),
    service('ns/dead', { clusterIP: '172.30.0.12' }),
    service('ns/udp', {
      clusterIP: '172.30.0.13',
      ports: [
        { name: 'dns', protocol: 'UDP', port: 53 },
        { name: 'dns-tcp', protocol: 'TCP', port: 53 },
        { name: 'sctp', protocol: 'SCTP', port: 99 },
      ],
    }),
    service('ns/sticky', { clusterIP: '172.30.0.14', sessionAffinity: 'ClientIP' }),
    service('ns/zones', { clusterIP: '172.30.0.15' }),
    service('ns/zones-partial', { clusterIP: '172.30.0.16' }),
    service('ns/same-node', { clusterIP: '172.30.0.17' }),
    service('ns/named', {
      clusterIP: '172.30.0.18',
      ports: [{ name: 'http', port: 80, targetPort: 'web' }],
    }),
    service('ns/proxy-mode', balancer(30_019, { clusterIP: '172.30.0.19' }), {
      loadBalancer: { ingress: [{ ip: '192.0.2.19', ipMode: 'Proxy' }] },
    }),
    service('ns/headless', { clusterIP: 'None' }),
    service('ns/outer', { type: 'ExternalName', externalName: 'example.org', clusterIP: '' }),
    {
      ...service('ns/foreign', { clusterIP: '172.30.0.22' }),
      metadata: { namespace: 'ns', name: 'foreign', labels: { 'service.kubernetes.io/service-proxy-name': 'other' } },
    },
    service('ns/itp-terminating', { clusterIP: '172.30.0.23', internalTrafficPolicy: 'Local' }),
  );
  const two = [here('10.1.0.1'), there('10.1.1.3')];
  const away = [there('10.1.1.3'), there('10.1.1.4')];
  const dying = { ready: false, serving: true, terminating: true };
  const hinted = (address: string, zones: string[], nodes: string[] = []) => ({
    ...there(address),
    hints: {
      forZones: zones.map((name) => ({ name })),
      ...(nodes.length > 0 ? { forNodes: nodes.map((name) => ({ name })) } : {}),
    },
  });
  world.slices.put(
    slice('ns/cluster', three),
    slice('ns/single', [here('10.1.0.1')]),
    slice('ns/node', two),
    slice('ns/etp', two),
    slice('ns/etp-away', away),
    slice('ns/itp', two),
    slice('ns/itp-away', away),
    slice('ns/ranges', two),
    slice('ns/terminating', [here('10.1.0.1'), here('10.1.0.2', dying)]),
    slice('ns/all-terminating', [here('10.1.0.1', { ready: false }), here('10.1.0.2', dying)]),
    slice('ns/dead', [here('10.1.0.1', { ready: false, serving: false, terminating: true })]),
    slice('ns/udp', two, {
      ports: [
        { name: 'dns', protocol: 'UDP', port: 5353 },
        { name: 'dns-tcp', protocol: 'TCP', port: 5354 },
        { name: 'sctp', protocol: 'SCTP', port: 5355 },
      ],
    }),
    slice('ns/sticky', two),
    slice('ns/zones', [
      hinted('10.1.1.1', ['zone-a']),
      hinted('10.1.1.2', ['zone-b']),
      hinted('10.1.1.3', ['zone-a', 'zone-b']),
    ]),
    slice('ns/zones-partial', [hinted('10.1.1.1', ['zone-a']), there('10.1.1.2')]),
    slice('ns/same-node', [hinted('10.1.1.1', ['zone-a'], ['node-a']), hinted('10.1.1.2', ['zone-a'], ['node-b'])]),
    // Two slices of one Service whose pods call the same port by different numbers.
    slice('ns/named', ['10.1.1.1'], { suffix: 'a', ports: [{ name: 'http', port: 8080 }] }),
    slice('ns/named', ['10.1.1.2', '10.1.1.1'], { suffix: 'b', ports: [{ name: 'http', port: 9090 }] }),
    slice('ns/proxy-mode', two),
    slice('ns/foreign', two),
    slice('ns/itp-terminating', [here('10.1.0.1', dying), there('10.1.1.3')]),
  );
  await world.settle(100);
  expect(world.logged.filter(({ level }) => level !== 'info')).toEqual([]);
}

async function kernelWith(loop: Partial<ServiceLoopOptions> = {}): Promise<FakeIptables> {
  const world = await startedWorld({ loop });
  await fill(world);
  return world.kernel;
}

type Row = readonly [client: Client, to: string, expected: string];

describe('where packets go', () => {
  let kernel: FakeIptables;
  beforeAll(async () => {
    kernel = await kernelWith();
  });

  it.each([
    // The cluster IP: an even spread; masqueraded when the client is no pod, or is the endpoint itself.
    ['pod', 'tcp 172.30.0.1:80', '10.1.0.1:8080 10.1.0.2:8080 10.1.1.3:8080'],
    ['a pod elsewhere', 'tcp 172.30.0.1:80', '10.1.0.1:8080 10.1.0.2:8080 10.1.1.3:8080'],
    ['node', 'tcp 172.30.0.1:80', '10.1.0.1:8080+m 10.1.0.2:8080+m 10.1.1.3:8080+m'],
    ['outside', 'tcp 172.30.0.1:80', '10.1.0.1:8080+m 10.1.0.2:8080+m 10.1.1.3:8080+m'],
    ['endpoint 1', 'tcp 172.30.0.1:80', '10.1.0.1:8080+m 10.1.0.2:8080 10.1.1.3:8080'],
    ['endpoint 2', 'tcp 172.30.0.1:80', '10.1.0.1:8080 10.1.0.2:8080+m 10.1.1.3:8080'],
    ['pod', 'tcp 172.30.0.1:81', 'pass'],
    ['pod', 'udp 172.30.0.1:80', 'pass'],
    ['pod', 'tcp 172.30.0.3:80', '10.1.0.1:8080'],
    ['endpoint 1', 'tcp 172.30.0.3:80', '10.1.0.1:8080+m'],
    // No endpoints: refused at every frontend.
    ['pod', 'tcp 172.30.0.2:80', 'reject'],
    ['node', 'tcp 172.30.0.2:80', 'reject'],
    ['outside', 'tcp 172.30.0.2:80', 'reject'],
    ['outside', 'tcp 192.0.2.2:80', 'reject'],
    ['pod', 'tcp 192.0.2.2:80', 'reject'],
    ['outside', `tcp ${nodeIP}:30002`, 'reject'],
    ['pod', `tcp ${nodeIP}:30002`, 'reject'],
    ['outside', `udp ${nodeIP}:30002`, 'pass'],
    // Node ports and external IPs under policy Cluster: any endpoint, always masqueraded.
    ['outside', `tcp ${nodeIP}:30004`, '10.1.0.1:8080+m 10.1.1.3:8080+m'],
    ['pod', `tcp ${nodeIP}:30004`, '10.1.0.1:8080+m 10.1.1.3:8080+m'],
    ['node', `tcp ${nodeIP}:30004`, '10.1.0.1:8080+m 10.1.1.3:8080+m'],
    ['outside', 'tcp 192.0.2.4:80', '10.1.0.1:8080+m 10.1.1.3:8080+m'],
    ['pod', 'tcp 192.0.2.4:80', '10.1.0.1:8080+m 10.1.1.3:8080+m'],
    ['node by loopback', 'tcp 127.0.0.1:30004', 'pass'],
    ['outside', 'tcp 203.0.113.77:30004', 'pass'],
    ['outside', 'tcp 192.0.2.4:30004', 'pass'],
    // External policy Local with an endpoint here: outside keeps its address; pods and the node go anywhere.
    ['outside', 'tcp 192.0.2.5:80', '10.1.0.1:8080'],
    ['outside', `tcp ${nodeIP}:30005`, '10.1.0.1:8080'],
    ['pod', 'tcp 192.0.2.5:80', '10.1.0.1:8080 10.1.1.3:8080'],
    ['pod', `tcp ${nodeIP}:30005`, '10.1.0.1:8080 10.1.1.3:8080'],
    ['node', 'tcp 192.0.2.5:80', '10.1.0.1:8080+m 10.1.1.3:8080+m'],
    ['node', `tcp ${nodeIP}:30005`, '10.1.0.1:8080+m 10.1.1.3:8080+m'],
    ['pod', 'tcp 172.30.0.5:80', '10.1.0.1:8080 10.1.1.3:8080'],
    ['outside', 'tcp 172.30.0.5:80', '10.1.0.1:8080+m 10.1.1.3:8080+m'],
    // External policy Local without one: outside is dropped, the others are served.
    ['outside', 'tcp 192.0.2.6:80', 'drop'],
    ['outside', `tcp ${nodeIP}:30006`, 'drop'],
    ['pod', 'tcp 192.0.2.6:80', '10.1.1.3:8080 10.1.1.4:8080'],
    ['node', 'tcp 192.0.2.6:80', '10.1.1.3:8080+m 10.1.1.4:8080+m'],
    ['node', `tcp ${nodeIP}:30006`, '10.1.1.3:8080+m 10.1.1.4:8080+m'],
    ['pod', 'tcp 172.30.0.6:80', '10.1.1.3:8080 10.1.1.4:8080'],
    ['outside', `tcp ${nodeIP}:31006`, 'pass'],
    // Internal policy Local.
    ['pod', 'tcp 172.30.0.7:80', '10.1.0.1:8080'],
    ['node', 'tcp 172.30.0.7:80', '10.1.0.1:8080+m'],
    ['pod', 'tcp 172.30.0.8:80', 'drop'],
    ['node', 'tcp 172.30.0.8:80', 'drop'],
    ['outside', 'tcp 172.30.0.8:80', 'drop'],
    ['outside', `tcp ${nodeIP}:30008`, '10.1.1.3:8080+m 10.1.1.4:8080+m'],
    ['pod', 'tcp 172.30.0.23:80', '10.1.0.1:8080'],
    // Source ranges hold for the balancer's address alone.
    ['outside', 'tcp 192.0.2.9:80', '10.1.0.1:8080+m 10.1.1.3:8080+m'],
    ['outside, not allowed', 'tcp 192.0.2.9:80', 'drop'],
    ['pod', 'tcp 192.0.2.9:80', 'drop'],
    ['node', 'tcp 192.0.2.9:80', '10.1.0.1:8080+m 10.1.1.3:8080+m'],
    ['outside, not allowed', `tcp ${nodeIP}:30009`, '10.1.0.1:8080+m 10.1.1.3:8080+m'],
    ['outside, not allowed', 'tcp 172.30.0.9:80', '10.1.0.1:8080+m 10.1.1.3:8080+m'],
    // Terminating endpoints: the last resort.
    ['pod', 'tcp 172.30.0.10:80', '10.1.0.1:8080'],
    ['pod', 'tcp 172.30.0.11:80', '10.1.0.2:8080'],
    ['pod', 'tcp 172.30.0.12:80', 'reject'],
    // Protocols do not mix.
    ['pod', 'udp 172.30.0.13:53', '10.1.0.1:5353 10.1.1.3:5353'],
    ['pod', 'tcp 172.30.0.13:53', '10.1.0.1:5354 10.1.1.3:5354'],
    ['pod', 'sctp 172.30.0.13:99', '10.1.0.1:5355 10.1.1.3:5355'],
    ['pod', 'sctp 172.30.0.13:53', 'pass'],
    ['endpoint 1', 'udp 172.30.0.13:53', '10.1.0.1:5353+m 10.1.1.3:5353'],
    // Hints.
    ['pod', 'tcp 172.30.0.15:80', '10.1.1.1:8080 10.1.1.3:8080'],
    ['pod', 'tcp 172.30.0.16:80', '10.1.1.1:8080 10.1.1.2:8080'],
    ['pod', 'tcp 172.30.0.17:80', '10.1.1.1:8080'],
    // Ports by name, another number in each slice.
    ['pod', 'tcp 172.30.0.18:80', '10.1.1.1:8080 10.1.1.1:9090 10.1.1.2:9090'],
    // A balancer that ends connections itself is not short-cut.
    ['outside', 'tcp 192.0.2.19:80', 'pass'],
    ['outside', `tcp ${nodeIP}:30019`, '10.1.0.1:8080+m 10.1.1.3:8080+m'],
    // None of our business.
    ['pod', 'tcp 172.30.0.22:80', 'pass'],
    ['pod', 'tcp 10.1.1.3:8080', 'pass'],
    ['outside', 'tcp 203.0.113.99:443', 'pass'],
    ['node', 'tcp 127.0.0.1:10248', 'pass'],
  ] satisfies Row[])('%s to %s: %s', (client, to, expected) => {
    expect(follow(kernel, client as Client, to)).toBe(expected);
  });

  it('a client with affinity stays where it was, others are spread', () => {
    const packet: Packet = { ...clients.pod, destination: '172.30.0.14', protocol: 'tcp', port: 80 };
    const [first] = kernel.trace(packet);
    expect(kernel.trace(packet)).toHaveLength(2);
    expect(first?.remembered).toHaveLength(1);
    kernel.remember(first?.remembered[0] ?? '', packet.source);
    expect(kernel.trace(packet)).toEqual([{ ...first, probability: 1 }]);
    expect(kernel.trace({ ...packet, source: '10.1.0.98' })).toHaveLength(2);
  });

  it('drops packets in state INVALID that would be forwarded, and lets known connections pass', () => {
    const packet = { ...clients.outside, destination: '10.1.0.1', protocol: 'tcp', port: 8080 } as const;
    expect(words(kernel.trace({ ...packet, state: 'INVALID' }))).toBe('drop');
    expect(words(kernel.trace({ ...packet, state: 'ESTABLISHED' }))).toBe('pass');
  });
});

describe('where packets go with other settings', () => {
  it.each([
    [
      'masqueradeAll',
      { masqueradeAll: true },
      [
        ['pod', 'tcp 172.30.0.3:80', '10.1.0.1:8080+m'],
        ['outside', 'tcp 172.30.0.3:80', '10.1.0.1:8080+m'],
      ],
    ],
    [
      'no way to tell pods',
      { localDetector: { kind: 'none' } },
      [
        ['outside', 'tcp 172.30.0.3:80', '10.1.0.1:8080'],
        ['pod', 'tcp 192.0.2.6:80', 'drop'],
        ['node', 'tcp 192.0.2.6:80', '10.1.1.3:8080+m 10.1.1.4:8080+m'],
      ],
    ],
    [
      'pods told by the bridge',
      { localDetector: { kind: 'bridgeInterface', name: 'cni0' } },
      [
        ['pod', 'tcp 172.30.0.3:80', '10.1.0.1:8080'],
        ['a pod elsewhere', 'tcp 172.30.0.3:80', '10.1.0.1:8080+m'],
        ['node', 'tcp 172.30.0.3:80', '10.1.0.1:8080+m'],
        ['pod', 'tcp 192.0.2.6:80', '10.1.1.3:8080 10.1.1.4:8080'],
      ],
    ],
    [
      'pods told by the prefix of their interface',
      { localDetector: { kind: 'interfaceNamePrefix', prefix: 'cni' } },
      [
        ['pod', 'tcp 172.30.0.3:80', '10.1.0.1:8080'],
        ['outside', 'tcp 172.30.0.3:80', '10.1.0.1:8080+m'],
      ],
    ],
    [
      'node ports on loopback',
      { localhostNodePorts: true },
      [
        ['node by loopback', 'tcp 127.0.0.1:30004', '10.1.0.1:8080+m 10.1.1.3:8080+m'],
        ['outside', 'tcp 127.0.0.1:10248', 'drop'],
        ['node by loopback', 'tcp 127.0.0.1:10248', 'pass'],
      ],
    ],
    [
      'node ports on one address',
      { nodePortAddresses: ['192.168.0.0/24'] },
      [
        ['outside', `tcp ${nodeIP}:30004`, '10.1.0.1:8080+m 10.1.1.3:8080+m'],
        ['node by loopback', 'tcp 127.0.0.1:30004', 'pass'],
      ],
    ],
    ['node ports on no address', { nodePortAddresses: ['10.99.0.0/24'] }, [['outside', `tcp ${nodeIP}:30004`, 'pass']]],
    ['another zone', { zone: 'zone-b' }, [['pod', 'tcp 172.30.0.15:80', '10.1.1.2:8080 10.1.1.3:8080']]],
    [
      'a zone that no hint names',
      { zone: 'zone-c' },
      [['pod', 'tcp 172.30.0.15:80', '10.1.1.1:8080 10.1.1.2:8080 10.1.1.3:8080']],
    ],
    ['another mark', { masqueradeBit: 31 }, [['node', 'tcp 172.30.0.3:80', '10.1.0.1:8080+m']]],
  ] satisfies [string, Partial<typeof facts>, Row[]][])('%s', async (_what, change, rows) => {
    const kernel = await kernelWith({ facts: { ...facts, ...change } });
    const got = rows.map(([client, to]) => [client, to, follow(kernel, client as Client, to)]);
    expect(got).toEqual(rows);
  });

  it('IPv6 by the same rules', async () => {
    const world = await startedWorld({ kernelOptions: { family: 'IPv6', localAddresses: ['fd00:1::2'] } });
    world.services.put(
      service('ns/six', {
        clusterIP: '172.30.0.1',
        clusterIPs: ['172.30.0.1', 'FD00:96:0::0001'],
        type: 'NodePort',
        ports: [{ name: 'p80', port: 80, nodePort: 30_001 }],
        sessionAffinity: 'ClientIP',
      }),
      service('ns/four', { clusterIP: '172.30.0.2' }),
      service('ns/empty', { clusterIP: 'fd00:96::3' }),
    );
    world.slices.put(
      slice('ns/six', [here('fd00:10:0::1'), there('fd00:10::2')], { addressType: 'IPv6' }),
      slice('ns/six', [here('10.1.0.1')], { suffix: 'four' }),
    );
    await world.settle(100);
    const at = (source: string, destination: string, port: number, inInterface?: string): string =>
      words(
        world.kernel.trace({ source, destination, port, protocol: 'tcp', ...(inInterface ? { inInterface } : {}) }),
      );
    expect(at('fd00:10::9', 'fd00:96::1', 80, 'cni0')).toBe('[fd00:10::1]:8080 [fd00:10::2]:8080');
    expect(at('fd00:10::1', 'fd00:96::1', 80, 'cni0')).toBe('[fd00:10::1]:8080+m [fd00:10::2]:8080');
    expect(at('2001:db8::1', 'fd00:1::2', 30_001, 'eth0')).toBe('[fd00:10::1]:8080+m [fd00:10::2]:8080+m');
    expect(at('fd00:1::2', 'fd00:96::3', 80)).toBe('reject');
    expect(at('::1', '::1', 30_001)).toBe('pass');
    expect(await world.kernel.save()).not.toContain('172.30');
  });
});
