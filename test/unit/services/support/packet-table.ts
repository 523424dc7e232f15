import type {
  Endpoint,
  EndpointPort,
  EndpointSlice,
  IPFamily,
  Service,
  ServicePort,
} from '../../../../src/model/service.ts';
import type { ProxyFacts } from '../../../../src/services/port.ts';
import { nodeName } from './objects.ts';

// One table of packets for every tier: a world of Services, and where each packet of each client goes. The model's
// tracer answers it, the fake kernel answers it, and real packets do, in both families.

/** Who sends. Pods of this node come by cni0, everybody else by eth0; the node itself by nothing. */
export const clients = ['pod', 'p1', 'p2', 'far', 'out', 'out2', 'node'] as const;
export type Client = (typeof clients)[number];

/** Endpoints: p… on this node, r… on another one. */
const endpointNames = ['p1', 'p2', 'p3', 'r1', 'r2'] as const;
type EndpointName = (typeof endpointNames)[number];

export interface Plan {
  readonly family: IPFamily;
  readonly podRange: string;
  readonly bridge: string;
  readonly node: string;
  /** Another address of the node. */
  readonly node2: string;
  readonly gateway: string;
  readonly farGateway: string;
  readonly serviceRange: string;
  readonly of: Readonly<Record<'pod' | EndpointName | 'far' | 'out' | 'out2', string>>;
  readonly outRange: string;
  readonly nodeRange: string;
  vip(index: number): string;
  ext(index: number): string;
  lb(index: number): string;
}

export const plans: Readonly<Record<IPFamily, Plan>> = {
  IPv4: {
    family: 'IPv4',
    podRange: '10.1.0.0/16',
    bridge: '10.1.0.1',
    node: '10.200.0.1',
    node2: '10.1.1.1',
    gateway: '10.200.0.2',
    farGateway: '10.1.1.1',
    serviceRange: '172.30.0.0/24',
    of: {
      pod: '10.1.0.14',
      p1: '10.1.0.11',
      p2: '10.1.0.12',
      p3: '10.1.0.13',
      r1: '10.1.1.21',
      r2: '10.1.1.22',
      far: '10.1.2.99',
      out: '203.0.113.50',
      out2: '198.51.100.1',
    },
    outRange: '203.0.113.0/24',
    nodeRange: '10.200.0.0/24',
    vip: (index) => `172.30.0.${index}`,
    ext: (index) => `192.0.2.${index}`,
    lb: (index) => `192.0.2.${100 + index}`,
  },
  IPv6: {
    family: 'IPv6',
    podRange: 'fd00:10::/32',
    bridge: 'fd00:10:0:1::1',
    node: 'fd00:200::1',
    node2: 'fd00:10:0:2::1',
    gateway: 'fd00:200::2',
    farGateway: 'fd00:10:0:2::1',
    serviceRange: 'fd00:96::/112',
    of: {
      pod: 'fd00:10:0:1::14',
      p1: 'fd00:10:0:1::11',
      p2: 'fd00:10:0:1::12',
      p3: 'fd00:10:0:1::13',
      r1: 'fd00:10:0:2::21',
      r2: 'fd00:10:0:2::22',
      far: 'fd00:10:0:3::99',
      out: '2001:db8:50::50',
      out2: '2001:db8:51::1',
    },
    outRange: '2001:db8:50::/48',
    nodeRange: 'fd00:200::/64',
    vip: (index) => `fd00:96::${index.toString(16)}`,
    ext: (index) => `2001:db8:2::${index.toString(16)}`,
    lb: (index) => `2001:db8:2::${(256 + index).toString(16)}`,
  },
};

export function tableFacts(family: IPFamily): ProxyFacts {
  const plan = plans[family];
  return {
    nodeName,
    zone: 'zone-a',
    nodeIPs: { [family]: plan.node },
    nodePortAddresses: [],
    localDetector: { kind: 'clusterCIDR', cidrs: [plan.podRange] },
    masqueradeAll: false,
    masqueradeBit: 14,
    localhostNodePorts: false,
    serviceCIDRs: [plan.serviceRange],
  };
}

interface Make {
  readonly index: number;
  readonly spec?: Partial<Service['spec']>;
  readonly ports?: readonly ServicePort[];
  readonly nodePort?: boolean;
  readonly external?: boolean;
  /** With an address of a load balancer; `Proxy`: one that ends connections itself. */
  readonly balancer?: boolean | 'Proxy';
  readonly ranges?: boolean;
  readonly labels?: Readonly<Record<string, string>>;
  readonly slices?: readonly { readonly ends: readonly End[]; readonly ports?: readonly EndpointPort[] }[];
}

type Condition = 'ready' | 'not ready' | 'dying' | 'dead';
type End =
  | EndpointName
  | readonly [EndpointName, Condition]
  | readonly [EndpointName, { zones?: string[]; nodes?: string[] }];

const conditions: Readonly<Record<Condition, Required<NonNullable<Endpoint['conditions']>>>> = {
  ready: { ready: true, serving: true, terminating: false },
  'not ready': { ready: false, serving: false, terminating: false },
  dying: { ready: false, serving: true, terminating: true },
  dead: { ready: false, serving: false, terminating: true },
};

const local = { externalTrafficPolicy: 'Local' } as const;
const localInside = { internalTrafficPolicy: 'Local' } as const;
const dnsPorts: readonly EndpointPort[] = [
  { name: 'dns', protocol: 'UDP', port: 5353 },
  { name: 'dns-tcp', protocol: 'TCP', port: 9090 },
];

const world: readonly Make[] = [
  { index: 1, slices: [{ ends: ['p1', 'p2', 'r1'] }] },
  { index: 2, nodePort: true, external: true },
  { index: 3, slices: [{ ends: ['p1'] }] },
  { index: 4, nodePort: true, external: true, slices: [{ ends: ['p1', 'r1'] }] },
  { index: 5, nodePort: true, balancer: true, spec: local, slices: [{ ends: ['p1', 'r1'] }] },
  { index: 6, nodePort: true, balancer: true, external: true, spec: local, slices: [{ ends: ['r1', 'r2'] }] },
  { index: 7, spec: localInside, slices: [{ ends: ['p1', 'r1'] }] },
  { index: 8, nodePort: true, spec: localInside, slices: [{ ends: ['r1', 'r2'] }] },
  { index: 9, nodePort: true, balancer: true, ranges: true, slices: [{ ends: ['p1', 'r1'] }] },
  { index: 10, slices: [{ ends: ['p1', ['p2', 'dying']] }] },
  {
    index: 11,
    slices: [
      {
        ends: [
          ['p1', 'not ready'],
          ['p2', 'dying'],
        ],
      },
    ],
  },
  {
    index: 12,
    slices: [
      {
        ends: [
          ['p1', 'dead'],
          ['r1', 'not ready'],
        ],
      },
    ],
  },
  {
    index: 13,
    nodePort: true,
    ports: [
      { name: 'dns', protocol: 'UDP', port: 53 },
      { name: 'dns-tcp', protocol: 'TCP', port: 53 },
    ],
    slices: [{ ends: ['p1', 'r1'], ports: dnsPorts }],
  },
  {
    index: 14,
    ports: [{ name: 'http', port: 80, targetPort: 'web' }],
    slices: [
      { ends: ['p1'], ports: [{ name: 'http', port: 8080 }] },
      { ends: ['p2', 'p1'], ports: [{ name: 'http', port: 9090 }] },
    ],
  },
  {
    index: 15,
    slices: [
      {
        ends: [
          ['r1', { zones: ['zone-a'] }],
          ['r2', { zones: ['zone-b'] }],
          ['p1', { zones: ['zone-a', 'zone-b'] }],
        ],
      },
    ],
  },
  { index: 16, slices: [{ ends: [['r1', { zones: ['zone-a'] }], 'r2'] }] },
  {
    index: 17,
    slices: [
      {
        ends: [
          ['r1', { zones: ['zone-a'], nodes: [nodeName] }],
          ['r2', { zones: ['zone-a'], nodes: ['node-b'] }],
        ],
      },
    ],
  },
  { index: 18, nodePort: true, balancer: 'Proxy', slices: [{ ends: ['p1', 'r1'] }] },
  { index: 19, spec: localInside, slices: [{ ends: [['p1', 'dying'], 'r1'] }] },
  { index: 20, nodePort: true, balancer: true, spec: { ...local, ...localInside }, slices: [{ ends: ['p1', 'r1'] }] },
  { index: 21, nodePort: true, balancer: true, ranges: true, spec: local, slices: [{ ends: ['p1', 'r1'] }] },
  {
    index: 22,
    nodePort: true,
    ports: [{ name: 'dns', protocol: 'UDP', port: 53 }],
  },
  { index: 23, nodePort: true, balancer: true, spec: local, slices: [{ ends: [['p1', 'dying'], 'r1'] }] },
  {
    index: 24,
    ports: [
      { name: 'http', port: 80 },
      { name: 'more', port: 81 },
    ],
    slices: [
      {
        ends: ['p1', 'p2'],
        ports: [
          { name: 'http', port: 8080 },
          { name: 'more', port: 9090 },
        ],
      },
    ],
  },
  { index: 25, nodePort: true, external: true, spec: local, slices: [{ ends: ['p2'] }] },
  { index: 26, labels: { 'service.kubernetes.io/service-proxy-name': 'other' }, slices: [{ ends: ['p1'] }] },
  { index: 27, balancer: true, ranges: true },
  {
    index: 28,
    slices: [
      {
        ends: [
          ['r1', { nodes: ['node-b'] }],
          ['r2', { nodes: ['node-c'] }],
        ],
      },
    ],
  },
];

/** All Services of the table, in one family. */
export function tableWorld(family: IPFamily): { services: Service[]; slices: EndpointSlice[] } {
  const plan = plans[family];
  const made = world.map((make) => objectsOf(make, plan));
  return { services: made.map(({ service }) => service), slices: made.flatMap(({ slices }) => slices) };
}

function objectsOf(make: Make, plan: Plan): { service: Service; slices: EndpointSlice[] } {
  const { index } = make;
  const name = `s${index}`;
  const ports = (make.ports ?? [{ name: 'p80', protocol: 'TCP', port: 80 }]).map((port) => ({
    ...port,
    ...(make.nodePort ? { nodePort: 30_000 + index } : {}),
  }));
  const ip = plan.lb(index);
  const service: Service = {
    metadata: { namespace: 'ns', name, ...(make.labels === undefined ? {} : { labels: { ...make.labels } }) },
    spec: {
      type: make.balancer ? 'LoadBalancer' : make.nodePort ? 'NodePort' : 'ClusterIP',
      clusterIP: plan.vip(index),
      clusterIPs: [plan.vip(index)],
      ipFamilies: [plan.family],
      ports,
      ...(make.external ? { externalIPs: [plan.ext(index)] } : {}),
      ...(make.ranges ? { loadBalancerSourceRanges: [plan.outRange, ` ${plan.nodeRange} `] } : {}),
      ...make.spec,
    },
    ...(make.balancer === undefined
      ? {}
      : {
          status: {
            loadBalancer: { ingress: [{ ip, ...(make.balancer === 'Proxy' ? { ipMode: 'Proxy' as const } : {}) }] },
          },
        }),
  };
  const slices = (make.slices ?? []).map(
    (one, at): EndpointSlice => ({
      metadata: { namespace: 'ns', name: `${name}-${at}`, labels: { 'kubernetes.io/service-name': name } },
      addressType: plan.family,
      ports: [...(one.ports ?? [{ name: 'p80', protocol: 'TCP', port: 8080 }])],
      endpoints: one.ends.map((end) => endpointOf(end, plan)),
    }),
  );
  return { service, slices };
}

function endpointOf(end: End, plan: Plan): Endpoint {
  const [name, what] = typeof end === 'string' ? ([end, 'ready'] as const) : end;
  const hints = typeof what === 'string' ? undefined : what;
  return {
    addresses: [plan.of[name]],
    conditions: conditions[typeof what === 'string' ? what : 'ready'],
    nodeName: name.startsWith('p') ? nodeName : 'node-b',
    ...(hints === undefined
      ? {}
      : {
          hints: {
            ...(hints.zones === undefined ? {} : { forZones: hints.zones.map((zone) => ({ name: zone })) }),
            ...(hints.nodes === undefined ? {} : { forNodes: hints.nodes.map((node) => ({ name: node })) }),
          },
        }),
  };
}

/**
 * Where to: "vip:1:80", "ext:4:80", "lb:5:80", "node:30004", "node2:30004", "p1:8080". Expected: endpoints by name, with
 * another port than 8080 behind a slash ("p1/9090"), "+m" under an address of the node; or "drop", "reject", "pass" (no
 * rule is about it). Backends may differ: "reject|pass" is what nftables does and what iptables does, and after a second
 * bar is what IPVS does, as kube-proxy's ipvs mode.
 */
type Line = readonly [protocol: 'tcp' | 'udp', to: string, expected: Readonly<Record<Client, string>>];

/** The same for everybody. */
const all = (expected: string): Record<Client, string> => ({
  pod: expected,
  p1: expected,
  p2: expected,
  far: expected,
  out: expected,
  out2: expected,
  node: expected,
});

/**
 * A cluster IP: pods keep their address (hairpin: p1 and p2 do not towards themselves), the others do not.
 */
function inside(...ends: readonly string[]): Record<Client, string> {
  const plain = ends.join(' ');
  const masqueraded = ends.map((end) => `${end}+m`).join(' ');
  const asOwn = (name: string): string => ends.map((end) => (end.split('/')[0] === name ? `${end}+m` : end)).join(' ');
  return {
    pod: plain,
    p1: asOwn('p1'),
    p2: asOwn('p2'),
    far: plain,
    out: masqueraded,
    out2: masqueraded,
    node: masqueraded,
  };
}

/** From outside under policy Cluster: always masqueraded. */
const outside = (...ends: readonly string[]): Record<Client, string> => all(ends.map((end) => `${end}+m`).join(' '));

/**
 * Under policy Local: this cluster's own as to the cluster IP, the world to `here`. IPVS has one list of endpoints for an
 * address: where one is here, the cluster's own are sent to those that are here as well.
 */
const kept = (here: string, ...ends: readonly string[]): Record<Client, string> => {
  const anywhere = inside(...ends);
  const onlyHere = here === 'drop' ? anywhere : inside(here);
  const own = (client: Client): string => `${anywhere[client]}|${anywhere[client]}|${onlyHere[client]}`;
  return {
    pod: own('pod'),
    p1: own('p1'),
    p2: own('p2'),
    far: own('far'),
    out: here,
    out2: here,
    node: own('node'),
  };
};

const nobody = all('reject');
const undefinedPort = all('reject|pass|reject');

export const lines: readonly Line[] = [
  ['tcp', 'vip:1:80', inside('p1', 'p2', 'r1')],
  ['tcp', 'vip:1:81', undefinedPort],
  ['udp', 'vip:1:80', undefinedPort],
  ['tcp', 'vip:2:80', nobody],
  // kube-proxy's iptables rules refuse the node's own packets on their way in alone, and these leave.
  ['tcp', 'ext:2:80', { ...nobody, node: 'reject|pass|reject' }],
  ['tcp', 'node:30002', nobody],
  ['tcp', 'vip:3:80', inside('p1')],
  ['tcp', 'vip:4:80', inside('p1', 'r1')],
  ['tcp', 'ext:4:80', outside('p1', 'r1')],
  // On IPVS an external IP is the node's own, and its other ports are refused.
  ['tcp', 'ext:4:81', all('pass|pass|reject')],
  ['tcp', 'node:30004', outside('p1', 'r1')],
  ['tcp', 'node2:30004', outside('p1', 'r1')],
  ['tcp', 'vip:5:80', inside('p1', 'r1')],
  ['tcp', 'lb:5:80', kept('p1', 'p1', 'r1')],
  ['tcp', 'node:30005', kept('p1', 'p1', 'r1')],
  ['tcp', 'vip:6:80', inside('r1', 'r2')],
  ['tcp', 'lb:6:80', kept('drop', 'r1', 'r2')],
  ['tcp', 'ext:6:80', kept('drop', 'r1', 'r2')],
  ['tcp', 'node:30006', kept('drop', 'r1', 'r2')],
  ['tcp', 'vip:7:80', inside('p1')],
  ['tcp', 'vip:8:80', { ...all('drop'), node: 'drop|drop|reject' }],
  ['tcp', 'node:30008', outside('r1', 'r2')],
  ['tcp', 'vip:9:80', inside('p1', 'r1')],
  ['tcp', 'lb:9:80', { ...all('drop'), out: 'p1+m r1+m', node: 'p1+m r1+m' }],
  ['tcp', 'node:30009', outside('p1', 'r1')],
  ['tcp', 'vip:10:80', inside('p1')],
  ['tcp', 'vip:11:80', inside('p2')],
  ['tcp', 'vip:12:80', nobody],
  ['udp', 'vip:13:53', inside('p1/5353', 'r1/5353')],
  ['tcp', 'vip:13:53', inside('p1/9090', 'r1/9090')],
  ['udp', 'node:30013', outside('p1/5353', 'r1/5353')],
  ['tcp', 'node:30013', outside('p1/9090', 'r1/9090')],
  ['tcp', 'vip:14:80', inside('p1', 'p1/9090', 'p2/9090')],
  ['tcp', 'vip:15:80', inside('p1', 'r1')],
  ['tcp', 'vip:16:80', inside('r1', 'r2')],
  ['tcp', 'vip:17:80', inside('r1')],
  ['tcp', 'lb:18:80', all('pass')],
  ['tcp', 'node:30018', outside('p1', 'r1')],
  ['tcp', 'vip:19:80', inside('p1')],
  ['tcp', 'vip:20:80', inside('p1')],
  ['tcp', 'lb:20:80', kept('p1', 'p1', 'r1')],
  ['tcp', 'node:30020', kept('p1', 'p1', 'r1')],
  ['tcp', 'lb:21:80', { ...all('drop'), out: 'p1', node: 'p1+m r1+m|p1+m r1+m|p1+m' }],
  ['tcp', 'node:30021', kept('p1', 'p1', 'r1')],
  ['udp', 'vip:22:53', nobody],
  ['udp', 'node:30022', nobody],
  ['tcp', 'vip:23:80', inside('r1')],
  ['tcp', 'lb:23:80', kept('p1', 'r1')],
  ['tcp', 'vip:24:80', inside('p1', 'p2')],
  ['tcp', 'vip:24:81', inside('p1/9090', 'p2/9090')],
  ['tcp', 'ext:25:80', kept('p2', 'p2')],
  ['tcp', 'node:30025', kept('p2', 'p2')],
  ['tcp', 'vip:26:80', all('drop|pass|pass')],
  ['tcp', 'vip:27:80', nobody],
  ['tcp', 'lb:27:80', { ...nobody, node: 'reject|pass|reject' }],
  ['tcp', 'vip:28:80', inside('r1', 'r2')],
  ['tcp', 'vip:99:80', all('drop|pass|pass')],
  ['udp', 'vip:99:53', all('drop|pass|pass')],
  ['tcp', 'r1:8080', { ...inside('r1'), out: 'r1', out2: 'r1', node: 'r1' }],
  ['udp', 'p2:5353', { ...all('p2/5353') }],
];

export interface Row {
  readonly client: Client;
  readonly source: string;
  readonly protocol: 'tcp' | 'udp';
  readonly destination: string;
  readonly port: number;
  /** "direct": the destination is an endpoint itself, and no rule is about it. */
  readonly direct: boolean;
  readonly expected: string;
  /** "pod tcp vip:1:80" */
  readonly name: string;
}

export function tableRows(family: IPFamily, backend: 'nftables' | 'iptables' | 'ipvs'): readonly Row[] {
  const plan = plans[family];
  const sources: Readonly<Record<Client, string>> = { ...plan.of, node: plan.node };
  return lines.flatMap(([protocol, to, expectations]) => {
    const parts = to.split(':');
    const port = Number(parts.at(-1));
    const destination = addressOf(parts, plan);
    return clients.map((client): Row => {
      const [nftables = '', iptables = nftables, ipvs = nftables] = expectations[client].split('|');
      const expected = { nftables, iptables, ipvs }[backend];
      const direct = endpointNames.some((name) => name === parts[0]);
      const name = `${client} ${protocol} ${to}`;
      return { client, source: sources[client], protocol, destination, port, direct, expected: sorted(expected), name };
    });
  });
}

function addressOf([kind = '', index = '']: readonly string[], plan: Plan): string {
  switch (kind) {
    case 'vip':
      return plan.vip(Number(index));
    case 'ext':
      return plan.ext(Number(index));
    case 'lb':
      return plan.lb(Number(index));
    case 'node':
      return plan.node;
    case 'node2':
      return plan.node2;
    default: {
      const name = endpointNames.find((one) => one === kind);
      if (name === undefined) throw new Error(`no destination ${kind}`);
      return plan.of[name];
    }
  }
}

/** "p1/9090+m": an endpoint by name, its port where it is not 8080, "+m" when masqueraded. */
export function endText(plan: Plan, address: string, port: number, masquerade: boolean): string {
  const name = endpointNames.find((one) => plan.of[one] === address) ?? address;
  return `${name}${port === 8080 ? '' : `/${port}`}${masquerade ? '+m' : ''}`;
}

export function sorted(text: string): string {
  return text.split(' ').sort().join(' ');
}
