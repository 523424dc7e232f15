import { describe, expect, it } from 'vitest';
import type { Node } from '../../../../src/model/node.ts';
import type { Pod, PodSpec } from '../../../../src/model/pod.ts';
import { type AdmissionFacts, admitPod } from '../../../../src/pods/admit/admit-pod.ts';
import { container, pod } from '../builders.ts';

const node: Node = {
  metadata: { name: 'n1', labels: { zone: 'a', cores: '8', 'kubernetes.io/os': 'linux' } },
  spec: { taints: [{ key: 'old', value: 'yes', effect: 'NoSchedule' }] },
  status: {
    allocatable: {
      cpu: '2',
      memory: '1Gi',
      'ephemeral-storage': '10Gi',
      pods: '3',
      'example.com/gpu': '1',
      'hugepages-2Mi': '4Mi',
    },
  },
};

const facts: AdmissionFacts = {
  node,
  pressure: [],
  allowedUnsafeSysctls: ['kernel.msg*', 'net.core.somaxconn'],
  kernelVersion: '6.1.0-18-amd64',
  appArmorEnabled: false,
};

const asks = (requests: Record<string, string>, name = 'a') => container(name, { resources: { requests } });
const wants = (requests: Record<string, string>): Pod => pod({ containers: [asks(requests)] });
const other = (spec: Partial<PodSpec> = {}, uid = 'other'): Pod => pod(spec, { uid, name: uid });
const affinity = (...nodeSelectorTerms: object[]): Partial<PodSpec> => ({
  affinity: { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms } } },
});
const on = (change: Partial<Node>): Partial<AdmissionFacts> => ({ node: { ...node, ...change } });
const tainted = on({ spec: { taints: [{ key: 'k', value: 'v', effect: 'NoExecute' }] } });
const port = (hostPort: number, more = {}): Partial<PodSpec> => ({
  containers: [container('a', { ports: [{ containerPort: 80, hostPort, ...more }] })],
});
const expression = (key: string, operator: string, ...values: string[]) => ({
  matchExpressions: [{ key, operator, values }],
});

interface Case {
  readonly pod: Pod;
  readonly others?: Pod[];
  readonly facts?: Partial<AdmissionFacts>;
}

function verdict({ pod: asked, others = [], facts: more = {} }: Case): string {
  const answer = admitPod(asked, others, { ...facts, ...more });
  if ('reason' in answer) return `${answer.reason}: ${answer.message}`;
  return answer.victims.length === 0
    ? 'admitted'
    : `for ${answer.victims.map(({ metadata }) => metadata.uid).join(' ')}`;
}

const short = (name: string, requested: number, used: number, capacity: number): string =>
  `OutOf${name}: Node didn't have enough resource: ${name}, requested: ${requested}, used: ${used}, capacity: ${capacity}`;
const NO_AFFINITY = "NodeAffinity: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector";
const NO_PORTS = "NodePorts: Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports";
const NO_TOLERATION =
  "TaintToleration: Predicate TaintToleration failed: node(s) had taints that the pod didn't tolerate";
const PRESSED = 'Evicted: The node had condition: [MemoryPressure]. ';

describe('admitPod refuses with kubelet’s reason and words', () => {
  it.each<[string, Case, string]>([
    [
      'too much cpu',
      { pod: wants({ cpu: '1500m' }), others: [other({ containers: [asks({ cpu: '600m' })] })] },
      short('cpu', 1500, 600, 2000),
    ],
    ['too much memory', { pod: wants({ memory: '2Gi' }) }, short('memory', 2147483648, 0, 1073741824)],
    [
      'too much disk',
      { pod: wants({ 'ephemeral-storage': '11Gi' }) },
      short('ephemeral-storage', 11811160064, 0, 10737418240),
    ],
    ['huge pages', { pod: wants({ 'hugepages-2Mi': '6Mi' }) }, short('hugepages-2Mi', 6291456, 0, 4194304)],
    [
      'an extended resource that is used up',
      { pod: wants({ 'example.com/gpu': '1' }), others: [other({ containers: [asks({ 'example.com/gpu': '1' })] })] },
      short('example.com/gpu', 1, 1, 1),
    ],
    ['one pod too many', { pod: pod(), others: ['b', 'c', 'd'].map((uid) => other({}, uid)) }, short('pods', 1, 3, 3)],
    ['the first of several shortages', { pod: wants({ cpu: '3', memory: '2Gi' }) }, short('cpu', 3000, 0, 2000)],
    [
      'a shortage before a wrong label',
      { pod: pod({ containers: [asks({ cpu: '3' })], nodeSelector: { zone: 'b' } }) },
      short('cpu', 3000, 0, 2000),
    ],
    ['a wrong node selector', { pod: pod({ nodeSelector: { zone: 'b' } }) }, NO_AFFINITY],
    ['a wrong affinity', { pod: pod(affinity(expression('zone', 'In', 'b', 'c'))) }, NO_AFFINITY],
    ['affinity without terms', { pod: pod(affinity()) }, NO_AFFINITY],
    ['an empty term', { pod: pod(affinity({})) }, NO_AFFINITY],
    [
      'one wrong expression of two',
      {
        pod: pod(
          affinity({
            matchExpressions: [
              expression('zone', 'Exists').matchExpressions[0],
              expression('cores', 'Gt', '8').matchExpressions[0],
            ],
          }),
        ),
      },
      NO_AFFINITY,
    ],
    ['an operator that nobody knows', { pod: pod(affinity(expression('zone', 'Like', 'a'))) }, NO_AFFINITY],
    ['NotIn without values', { pod: pod(affinity(expression('zone', 'NotIn'))) }, NO_AFFINITY],
    [
      'another node by field',
      { pod: pod(affinity({ matchFields: [{ key: 'metadata.name', operator: 'In', values: ['n2'] }] })) },
      NO_AFFINITY,
    ],
    [
      'another node by name',
      { pod: pod({ nodeName: 'n2' }) },
      "NodeName: Predicate NodeName failed: node(s) didn't match the requested node name",
    ],
    ['a taken host port', { pod: pod(port(80)), others: [other(port(80))] }, NO_PORTS],
    [
      'a port taken on every address',
      { pod: pod(port(80, { hostIP: '10.0.0.1' })), others: [other(port(80))] },
      NO_PORTS,
    ],
    [
      'a port taken by a sidecar',
      {
        pod: pod(port(80)),
        others: [
          other({
            initContainers: [container('s', { restartPolicy: 'Always', ports: [{ containerPort: 1, hostPort: 80 }] })],
          }),
        ],
      },
      NO_PORTS,
    ],
    ['a NoExecute taint', { pod: pod(), facts: tainted }, NO_TOLERATION],
    [
      'a taint of another value',
      { pod: pod({ tolerations: [{ key: 'k', value: 'w', effect: 'NoExecute' }] }), facts: tainted },
      NO_TOLERATION,
    ],
    [
      'the label of another system',
      { pod: pod({}, { labels: { 'kubernetes.io/os': 'windows' } }) },
      "PodOSSelectorNodeLabelDoesNotMatch: Failed to admit pod as the `kubernetes.io/os` label doesn't match node label",
    ],
    [
      'another system',
      { pod: pod({ os: { name: 'windows' } }) },
      "PodOSNotSupported: Failed to admit pod as the OS field doesn't match node OS",
    ],
    [
      'strict groups',
      { pod: pod({ securityContext: { supplementalGroupsPolicy: 'Strict' } }) },
      'SupplementalGroupsPolicyNotSupported: SupplementalGroupsPolicy=Strict is not supported in this node',
    ],
    [
      'AppArmor where there is none',
      { pod: pod({ securityContext: { appArmorProfile: { type: 'RuntimeDefault' } } }) },
      'AppArmor: Cannot enforce AppArmor: AppArmor is not enabled on the host',
    ],
    [
      'AppArmor by annotation',
      { pod: pod({}, { annotations: { 'container.apparmor.security.beta.kubernetes.io/a': 'runtime/default' } }) },
      'AppArmor: Cannot enforce AppArmor: AppArmor is not enabled on the host',
    ],
    [
      'an unsafe sysctl',
      { pod: pod({ securityContext: { sysctls: [{ name: 'kernel.shmmax', value: '1' }] } }) },
      'SysctlForbidden: forbidden sysctl: "kernel.shmmax" not allowlisted',
    ],
    [
      'a sysctl of the host’s network',
      {
        pod: pod({
          hostNetwork: true,
          securityContext: { sysctls: [{ name: 'net.ipv4.tcp_syncookies', value: '1' }] },
        }),
      },
      'SysctlForbidden: forbidden sysctl: "net.ipv4.tcp_syncookies" not allowed with host net enabled',
    ],
    [
      'a sysctl that the kernel is too old for',
      {
        pod: pod({ securityContext: { sysctls: [{ name: 'net.ipv4.tcp_keepalive_time', value: '1' }] } }),
        facts: { kernelVersion: '3.10.0' },
      },
      'SysctlForbidden: forbidden sysctl: "net.ipv4.tcp_keepalive_time" not allowlisted',
    ],
    [
      'features of a newer node',
      { pod: pod({ hostNetwork: true, hostUsers: false }) },
      'PodFeatureUnsupported: Pod requires node features that are not available: UserNamespacesHostNetworkSupport',
    ],
    ['BestEffort under memory pressure', { pod: pod(), facts: { pressure: ['MemoryPressure'] } }, PRESSED],
    [
      'anybody under disk pressure',
      { pod: wants({ cpu: '1' }), facts: { pressure: ['MemoryPressure', 'DiskPressure'] } },
      'Evicted: The node had condition: [MemoryPressure DiskPressure]. ',
    ],
    [
      'a node that goes down',
      { pod: pod(), facts: { shuttingDown: true } },
      'NodeShutdown: Pod was rejected as the node is shutting down.',
    ],
  ])('%s', (_name, asked, expected) => {
    expect(verdict(asked)).toBe(expected);
  });
});

describe('admitPod takes', () => {
  it.each<[string, Case]>([
    [
      'what fits exactly',
      { pod: wants({ cpu: '2', memory: '1Gi', 'ephemeral-storage': '10Gi', 'example.com/gpu': '1' }) },
    ],
    ['a resource that the node does not have: the cluster has it', { pod: wants({ 'example.com/license': '5' }) }],
    [
      'a limit of such a resource',
      { pod: pod({ containers: [container('a', { resources: { limits: { 'example.com/license': '5' } } })] }) },
    ],
    ['a node selector that matches', { pod: pod({ nodeSelector: { zone: 'a' } }) }],
    ['one matching term of two', { pod: pod(affinity(expression('zone', 'In', 'b'), expression('cores', 'Gt', '7'))) }],
    [
      'this node by field',
      { pod: pod(affinity({ matchFields: [{ key: 'metadata.name', operator: 'In', values: ['n1'] }] })) },
    ],
    ['NoSchedule taints, which bind the scheduler', { pod: pod() }],
    ['a tolerated taint', { pod: pod({ tolerations: [{ operator: 'Exists' }] }), facts: tainted }],
    [
      'a static pod on a tainted node',
      { pod: pod({}, { annotations: { 'kubernetes.io/config.source': 'file' } }), facts: tainted },
    ],
    ['the same port of another protocol', { pod: pod(port(80)), others: [other(port(80, { protocol: 'UDP' }))] }],
    [
      'the same port of another address',
      { pod: pod(port(80, { hostIP: '10.0.0.1' })), others: [other(port(80, { hostIP: '10.0.0.2' }))] },
    ],
    [
      'safe sysctls and those that are allowed',
      {
        pod: pod({
          securityContext: {
            sysctls: ['net.ipv4.tcp_syncookies', 'kernel.msgmax', 'net.core.somaxconn'].map((name) => ({
              name,
              value: '1',
            })),
          },
        }),
      },
    ],
    [
      'AppArmor where it is enabled',
      {
        pod: pod({ securityContext: { appArmorProfile: { type: 'RuntimeDefault' } } }),
        facts: { appArmorEnabled: true },
      },
    ],
    ['an unconfined pod', { pod: pod({ securityContext: { appArmorProfile: { type: 'Unconfined' } } }) }],
    [
      'strict groups where the runtime can',
      {
        pod: pod({ securityContext: { supplementalGroupsPolicy: 'Strict' } }),
        facts: on({ status: { ...node.status, features: { supplementalGroupsPolicy: true } } }),
      },
    ],
    ['Burstable under memory pressure', { pod: wants({ cpu: '1' }), facts: { pressure: ['MemoryPressure'] } }],
    [
      'BestEffort that tolerates it',
      {
        pod: pod({ tolerations: [{ key: 'node.kubernetes.io/memory-pressure', operator: 'Exists' }] }),
        facts: { pressure: ['MemoryPressure'] },
      },
    ],
    [
      'a critical pod under disk pressure',
      { pod: pod({ priority: 2_000_000_000 }), facts: { pressure: ['DiskPressure'] } },
    ],
  ])('%s', (_name, asked) => {
    expect(verdict(asked)).toBe('admitted');
  });

  it('tells when only labels speak against a pod', () => {
    expect(admitPod(pod({ nodeSelector: { zone: 'b' } }), [], facts)).toMatchObject({ labelsOnly: true });
    expect(admitPod(pod({ nodeSelector: { zone: 'b' }, nodeName: 'x' }), [], facts)).not.toHaveProperty('labelsOnly');
  });
});

describe('a critical pod', () => {
  const sized = (uid: string, requests: Record<string, string>, limits?: Record<string, string>): Pod =>
    other(
      { containers: [container('a', { resources: { requests, ...(limits === undefined ? {} : { limits }) } })] },
      uid,
    );
  const roomy = on({ status: { allocatable: { cpu: '2', memory: '2Gi', pods: '10' } } });
  const critical = (requests: Record<string, string>, more: Partial<PodSpec> = {}): Pod =>
    pod({ containers: [asks(requests)], priority: 2_000_001_000, ...more });

  it.each<[string, Case, string]>([
    [
      'takes the place of the one pod that is enough',
      { pod: critical({ cpu: '1' }), others: [sized('small', { cpu: '500m' }), sized('big', { cpu: '1500m' })] },
      'for big',
    ],
    [
      'takes the smaller of two that are enough',
      { pod: critical({ cpu: '500m' }), others: [sized('x', { cpu: '1200m' }), sized('y', { cpu: '800m' })] },
      'for y',
    ],
    [
      'needs two where one is too little',
      { pod: critical({ cpu: '2' }), others: [sized('x', { cpu: '1' }), sized('y', { cpu: '1' })] },
      'for y x',
    ],
    [
      'spares Guaranteed pods',
      {
        pod: critical({ cpu: '1' }),
        others: [sized('g', { cpu: '1', memory: '1Mi' }, { cpu: '1', memory: '1Mi' }), sized('b', { cpu: '1' })],
      },
      'for b',
    ],
    [
      'spares Burstable pods where a BestEffort one will do',
      {
        pod: critical({}),
        others: [...Array.from({ length: 9 }, (_, i) => sized(`b${i}`, { cpu: '1m' })), other({}, 'e')],
      },
      'for e',
    ],
    [
      'does not touch other critical pods',
      {
        pod: critical({ cpu: '1' }),
        others: [other({ containers: [asks({ cpu: '2' })], priority: 2_000_001_000 }, 'c')],
      },
      'UnexpectedAdmissionError: Unexpected error while attempting to recover from admission failure: preemption: error finding a set of pods to preempt: no set of running pods found to reclaim resources: [(res: cpu, q: 1000), ]',
    ],
    [
      'but those of less priority',
      {
        pod: critical({ cpu: '1' }),
        others: [other({ containers: [asks({ cpu: '2' })], priority: 2_000_000_000 }, 'c')],
      },
      'for c',
    ],
    [
      'is refused for anything but resources, and kills nobody for it',
      { pod: critical({ cpu: '1' }, { nodeSelector: { zone: 'b' } }), others: [sized('x', { cpu: '2' })] },
      NO_AFFINITY,
    ],
    [
      'kills nobody either when a later check refuses it',
      { pod: critical({ cpu: '1' }, { hostNetwork: true, hostUsers: false }), others: [sized('x', { cpu: '2' })] },
      'PodFeatureUnsupported: Pod requires node features that are not available: UserNamespacesHostNetworkSupport',
    ],
  ])('%s', (_name, asked, expected) => {
    expect(verdict({ ...asked, facts: roomy })).toBe(expected);
  });

  it('is each static pod', () => {
    const fromFile = pod(
      { containers: [asks({ cpu: '2' })] },
      { annotations: { 'kubernetes.io/config.source': 'file' } },
    );
    expect(verdict({ pod: fromFile, others: [sized('x', { cpu: '1' })], facts: roomy })).toBe('for x');
  });
});
