import { describe, expect, it } from 'vitest';
import type { KubeObject } from '../../../../src/model/meta.ts';
import type { ContainerStatus, Pod, PodStatus } from '../../../../src/model/pod.ts';
import { type ResourceType, resources } from '../../../../src/model/resource.ts';
import { humanDuration } from '../../../../src/standalone/tables/human-duration.ts';
import { formatOf } from '../../../../src/standalone/tables/object-formats.ts';
import { summarize } from '../../../../src/standalone/tables/pod-format.ts';

const NOW = Date.UTC(2026, 0, 1, 12, 0, 0);

// The table of apimachinery's util/duration tests.
it.each([
  [-2_000, '<invalid>'],
  [-1_500, '0s'],
  [1_000, '1s'],
  [70_000, '70s'],
  [190_000, '3m10s'],
  [600_000 + 1_000, '10m'],
  [47 * 60_000, '47m'],
  [3_600_000, '60m'],
  [3 * 3_600_000 + 60_000, '3h1m'],
  [7 * 3_600_000, '7h'],
  [20 * 3_600_000, '20h'],
  [71 * 3_600_000, '2d23h'],
  [96 * 3_600_000, '4d'],
  [101 * 86_400_000, '101d'],
  [3 * 365 * 86_400_000 + 86_400_000, '3y1d'],
  [9 * 365 * 86_400_000, '9y'],
])('%d ms is %s', (ms, text) => {
  expect(humanDuration(ms)).toBe(text);
});

function container(name: string, extra: Partial<ContainerStatus>): ContainerStatus {
  return { name, ready: false, restartCount: 0, image: 'i', imageID: '', ...extra };
}
const running = (name: string, extra: Partial<ContainerStatus> = {}): ContainerStatus =>
  container(name, { ready: true, started: true, state: { running: {} }, ...extra });
const waiting = (name: string, reason: string, extra: Partial<ContainerStatus> = {}): ContainerStatus =>
  container(name, { state: { waiting: { reason } }, ...extra });
const terminated = (
  name: string,
  exitCode: number,
  reason?: string,
  extra: { signal?: number } = {},
): ContainerStatus =>
  container(name, { state: { terminated: { exitCode, ...(reason === undefined ? {} : { reason }), ...extra } } });

function pod(status: PodStatus, extra: { init?: object[]; metadata?: object } = {}): Pod {
  const containers = [
    { name: 'a', image: 'i' },
    { name: 'b', image: 'i' },
  ];
  return {
    metadata: { name: 'p', ...extra.metadata },
    spec: { containers, ...(extra.init === undefined ? {} : { initContainers: extra.init }) },
    status,
  } as Pod;
}

const init = [
  { name: 'i1', image: 'i' },
  { name: 'i2', image: 'i' },
];
const sidecar = [{ name: 'side', image: 'i', restartPolicy: 'Always' }];
const initialized = [{ type: 'Initialized', status: 'True' as const }];

// What kubectl shows of such pods (pkg/printers/internalversion/printers_test.go).
describe('pods', () => {
  it.each<[string, Pod, string, string, string]>([
    ['pending', pod({ phase: 'Pending' }), '0/2', 'Pending', '0'],
    ['running', pod({ phase: 'Running', containerStatuses: [running('a'), running('b')] }), '2/2', 'Running', '0'],
    [
      'half ready',
      pod({ phase: 'Running', containerStatuses: [running('a'), running('b', { ready: false })] }),
      '1/2',
      'Running',
      '0',
    ],
    [
      'creating',
      pod({
        phase: 'Pending',
        containerStatuses: [waiting('a', 'ContainerCreating'), waiting('b', 'ContainerCreating')],
      }),
      '0/2',
      'ContainerCreating',
      '0',
    ],
    [
      'crashing',
      pod({
        phase: 'Running',
        containerStatuses: [
          running('a'),
          waiting('b', 'CrashLoopBackOff', {
            restartCount: 3,
            lastState: { terminated: { exitCode: 1, finishedAt: '2026-01-01T11:59:55Z' } },
          }),
        ],
      }),
      '1/2',
      'CrashLoopBackOff',
      '3 (5s ago)',
    ],
    [
      'the first container speaks last',
      pod({ containerStatuses: [waiting('a', 'ErrImagePull'), waiting('b', 'CrashLoopBackOff')] }),
      '0/2',
      'ErrImagePull',
      '0',
    ],
    [
      'completed',
      pod({
        phase: 'Succeeded',
        containerStatuses: [terminated('a', 0, 'Completed'), terminated('b', 0, 'Completed')],
      }),
      '0/2',
      'Completed',
      '0',
    ],
    [
      'one done, one running',
      pod({ phase: 'Running', containerStatuses: [terminated('a', 0, 'Completed'), running('b')] }),
      '1/2',
      'NotReady',
      '0',
    ],
    [
      'one done, one running and ready',
      pod({
        phase: 'Running',
        conditions: [{ type: 'Ready', status: 'True' }],
        containerStatuses: [terminated('a', 0, 'Completed'), running('b')],
      }),
      '1/2',
      'Running',
      '0',
    ],
    [
      'exit code without a reason',
      pod({ containerStatuses: [terminated('a', 7), running('b')] }),
      '1/2',
      'ExitCode:7',
      '0',
    ],
    [
      'signal without a reason',
      pod({ containerStatuses: [terminated('a', 137, undefined, { signal: 9 })] }),
      '0/2',
      'Signal:9',
      '0',
    ],
    ['killed for memory', pod({ containerStatuses: [terminated('a', 137, 'OOMKilled')] }), '0/2', 'OOMKilled', '0'],
    ['evicted', pod({ phase: 'Failed', reason: 'Evicted' }), '0/2', 'Evicted', '0'],
    [
      'init 0/2',
      pod({ phase: 'Pending', initContainerStatuses: [running('i1'), waiting('i2', 'PodInitializing')] }, { init }),
      '0/2',
      'Init:0/2',
      '0',
    ],
    [
      'init 1/2',
      pod({ initContainerStatuses: [terminated('i1', 0), waiting('i2', 'PodInitializing')] }, { init }),
      '0/2',
      'Init:1/2',
      '0',
    ],
    [
      'init waits',
      pod({ initContainerStatuses: [waiting('i1', 'ImagePullBackOff')] }, { init }),
      '0/2',
      'Init:ImagePullBackOff',
      '0',
    ],
    ['init failed', pod({ initContainerStatuses: [terminated('i1', 1, 'Error')] }, { init }), '0/2', 'Init:Error', '0'],
    ['init exit code', pod({ initContainerStatuses: [terminated('i1', 4)] }, { init }), '0/2', 'Init:ExitCode:4', '0'],
    [
      'restarts of init containers no longer count once it runs',
      pod(
        {
          phase: 'Running',
          conditions: initialized,
          initContainerStatuses: [{ ...terminated('i1', 0), restartCount: 5 }, terminated('i2', 0)],
          containerStatuses: [running('a', { restartCount: 1 }), running('b')],
        },
        { init },
      ),
      '2/2',
      'Running',
      '1',
    ],
    [
      'a sidecar counts among the containers, with its restarts',
      pod(
        {
          phase: 'Running',
          initContainerStatuses: [
            running('side', {
              restartCount: 2,
              lastState: { terminated: { exitCode: 1, finishedAt: '2026-01-01T11:00:00Z' } },
            }),
          ],
          containerStatuses: [running('a'), running('b')],
        },
        { init: sidecar },
      ),
      '3/3',
      'Running',
      '2 (60m ago)',
    ],
    [
      'a sidecar that has not started',
      pod(
        { initContainerStatuses: [container('side', { state: { running: {} }, started: false })] },
        { init: sidecar },
      ),
      '0/3',
      'Init:0/1',
      '0',
    ],
    [
      'terminating',
      pod(
        { phase: 'Running', containerStatuses: [running('a'), running('b')] },
        { metadata: { deletionTimestamp: 'x' } },
      ),
      '2/2',
      'Terminating',
      '0',
    ],
    [
      'terminating but done',
      pod(
        { phase: 'Succeeded', containerStatuses: [terminated('a', 0, 'Completed')] },
        { metadata: { deletionTimestamp: 'x' } },
      ),
      '0/2',
      'Completed',
      '0',
    ],
    [
      'lost',
      pod({ phase: 'Running', reason: 'NodeLost' }, { metadata: { deletionTimestamp: 'x' } }),
      '0/2',
      'Unknown',
      '0',
    ],
    [
      'gated',
      pod({ phase: 'Pending', conditions: [{ type: 'PodScheduled', status: 'False', reason: 'SchedulingGated' }] }),
      '0/2',
      'SchedulingGated',
      '0',
    ],
  ])('%s', (_title, object, ready, status, restarts) => {
    const summary = summarize(object, NOW);
    expect([`${summary.ready}/${summary.total}`, summary.status, summary.restarts]).toEqual([ready, status, restarts]);
  });
});

describe('other kinds', () => {
  const created = { creationTimestamp: '2026-01-01T11:00:00Z' };
  it.each<[ResourceType, object, unknown[]]>([
    [
      resources.services,
      {
        spec: {
          type: 'NodePort',
          clusterIP: '10.0.0.1',
          ports: [
            { port: 80, nodePort: 30080 },
            { port: 53, protocol: 'UDP' },
          ],
          selector: { b: '2', a: '1' },
        },
      },
      ['NodePort', '10.0.0.1', '<none>', '80:30080/TCP,53/UDP', '60m', 'a=1,b=2'],
    ],
    [
      resources.services,
      { spec: { type: 'LoadBalancer', clusterIP: '10.0.0.1' } },
      ['LoadBalancer', '10.0.0.1', '<pending>', '<none>', '60m', '<none>'],
    ],
    [
      resources.services,
      { spec: { type: 'ExternalName', externalName: 'x.org' } },
      ['ExternalName', '<none>', 'x.org', '<none>', '60m', '<none>'],
    ],
    [
      resources.endpointslices,
      {
        addressType: 'IPv4',
        ports: [{ port: 80 }],
        endpoints: [{ addresses: ['1.1.1.1', '1.1.1.2'] }, { addresses: ['1.1.1.3'] }, { addresses: ['1.1.1.4'] }],
      },
      ['IPv4', '80', '1.1.1.1,1.1.1.2,1.1.1.3 + 1 more...', '60m'],
    ],
    [resources.endpointslices, { addressType: 'IPv6' }, ['IPv6', '<unset>', '<unset>', '60m']],
    [resources.namespaces, { status: { phase: 'Active' } }, ['Active', '60m']],
    [resources.secrets, { type: 'Opaque', data: { a: '', b: '' } }, ['Opaque', 2, '60m']],
    [resources.leases, { spec: { holderIdentity: 'n' } }, ['n', '60m']],
    [resources.servicecidrs, { spec: { cidrs: ['10.96.0.0/16', 'fd00::/108'] } }, ['10.96.0.0/16,fd00::/108', '60m']],
    [resources.runtimeclasses, { handler: 'kata' }, ['kata', '60m']],
    [
      resources.csidrivers,
      { spec: { attachRequired: false, tokenRequests: [{ audience: 'a' }], volumeLifecycleModes: ['Ephemeral'] } },
      [false, false, false, 'a', false, 'Ephemeral', '60m'],
    ],
    [resources.csinodes, { spec: { drivers: [{ name: 'd', nodeID: 'n' }] } }, [1, '60m']],
    [
      resources.volumeattachments,
      { spec: { attacher: 'd', nodeName: 'm', source: { persistentVolumeName: 'pv' } }, status: { attached: true } },
      ['d', 'pv', 'm', true, '60m'],
    ],
    [resources.storageclasses, { provisioner: 'd' }, ['d', 'Delete', 'Immediate', false, '60m']],
    [resources.priorityclasses, { value: 7, preemptionPolicy: 'Never' }, [7, 'false', '60m', 'Never']],
    [
      resources.persistentvolumeclaims,
      {
        spec: { volumeName: 'v', volumeMode: 'Filesystem' },
        status: { phase: 'Bound', capacity: { storage: '1Gi' }, accessModes: ['ReadWriteMany', 'ReadWriteOnce'] },
      },
      ['Bound', 'v', '1Gi', 'RWO,RWX', '', '<unset>', '60m', 'Filesystem'],
    ],
  ])('%#', (type, object, cells) => {
    const format = formatOf(type);
    const found = format.cells({ metadata: { name: 'n', ...created }, ...object } as KubeObject, NOW);
    expect(found).toEqual(['n', ...cells]);
    expect(found).toHaveLength(format.columns.length);
  });

  it('nodes', () => {
    const node = {
      metadata: {
        name: 'n',
        ...created,
        labels: { 'node-role.kubernetes.io/worker': '', 'node-role.kubernetes.io/edge': '' },
      },
      spec: { unschedulable: true },
      status: {
        conditions: [{ type: 'Ready', status: 'True' }],
        addresses: [{ type: 'InternalIP', address: '10.1.1.1' }],
        nodeInfo: {
          kubeletVersion: 'v1',
          osImage: 'Debian',
          kernelVersion: '6',
          containerRuntimeVersion: 'containerd://1',
        },
      },
    };
    expect(formatOf(resources.nodes).cells(node as unknown as KubeObject, NOW)).toEqual([
      'n',
      'Ready,SchedulingDisabled',
      'edge,worker',
      '60m',
      'v1',
      '10.1.1.1',
      '<none>',
      'Debian',
      '6',
      'containerd://1',
    ]);
  });

  it('events', () => {
    const event = {
      metadata: { name: 'e' },
      involvedObject: { kind: 'Pod', name: 'p', fieldPath: 'spec.containers{c}' },
      type: 'Warning',
      reason: 'BackOff',
      message: 'Back-off\n',
      count: 4,
      firstTimestamp: '2026-01-01T11:00:00Z',
      lastTimestamp: '2026-01-01T11:59:00Z',
      source: { component: 'kubelet', host: 'n' },
    };
    expect(formatOf(resources.events).cells(event as KubeObject, NOW)).toEqual([
      '60s',
      'Warning',
      'BackOff',
      'pod/p',
      'spec.containers{c}',
      'kubelet, n',
      'Back-off',
      '60m',
      4,
      'e',
    ]);
  });
});
