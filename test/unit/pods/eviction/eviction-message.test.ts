import { describe, expect, it } from 'vitest';
import type { Threshold } from '../../../../src/model/eviction.ts';
import type { Pod } from '../../../../src/model/pod.ts';
import { evictionMessage } from '../../../../src/pods/eviction/eviction-message.ts';
import { storageExcess, storageNeeds } from '../../../../src/pods/eviction/storage-limits.ts';

const MIB = 2 ** 20;
const pod: Pod = {
  metadata: { name: 'web' },
  spec: {
    containers: [
      {
        name: 'app',
        image: 'i',
        resources: { requests: { memory: '50Mi' }, limits: { 'ephemeral-storage': '100Mi' } },
      },
      { name: 'log', image: 'i', resources: { requests: { memory: '1Gi' } } },
    ],
    initContainers: [{ name: 'side', image: 'i', restartPolicy: 'Always' }],
    volumes: [
      { name: 'scratch', emptyDir: { sizeLimit: '1024Ki' } },
      { name: 'ram', emptyDir: { medium: 'Memory' } },
    ],
  },
};
const hard = (signal: Threshold['signal'], value: Threshold['value']): Threshold => ({
  signal,
  value,
  graceMs: 0,
  minReclaim: undefined,
});

describe('why a pod is evicted', () => {
  it('names threshold, what is left, and the containers above their requests', () => {
    const usage = {
      memoryBytes: 300 * MIB,
      containers: [
        { name: 'app', memoryBytes: 60 * MIB },
        { name: 'log', memoryBytes: 200 * MIB },
        { name: 'side', memoryBytes: 5000 },
        { name: 'debugger', memoryBytes: 900 * MIB },
      ],
      volumes: new Map(),
    };
    const thresholds = [
      hard('pid.available', { share: 0.1 }),
      hard('memory.available', { amount: 104857600, text: '100Mi' }),
    ];
    const observations = { 'memory.available': { available: 1536 * 1024, capacity: 4096 * MIB } };
    expect(evictionMessage('memory', pod, usage, thresholds, observations)).toEqual({
      message:
        'The node was low on resource: memory. Threshold quantity: 100Mi, available: 1536Ki. ' +
        'Container app was using 60Mi, request is 50Mi, has larger consumption of memory. ' +
        'Container side was using 5000, request is 0, has larger consumption of memory. ',
      annotations: {
        offending_containers: 'app,side',
        offending_containers_usage: '60Mi,5000',
        starved_resource: 'memory',
      },
    });
  });

  it('shares of a capacity, inodes in thousands; nothing more of a pod that is not known', () => {
    const thresholds = [hard('nodefs.inodesFree', { share: Math.fround(Math.fround(5) / 100) })];
    const observations = { 'nodefs.inodesFree': { available: 42_000, capacity: 1_000_000 } };
    expect(evictionMessage('inodes', pod, undefined, thresholds, observations)).toEqual({
      message: 'The node was low on resource: inodes. Threshold quantity: 50000, available: 42k. ',
      annotations: {},
    });
  });

  it('names a pod by its own request', () => {
    const whole: Pod = { ...pod, spec: { ...pod.spec, resources: { requests: { memory: '64Mi' } } } };
    const usage = { memoryBytes: 80 * MIB, containers: [], volumes: new Map() };
    const { message, annotations } = evictionMessage('memory', whole, usage, [], {});
    expect(message).toBe(
      'The node was low on resource: memory. Pod web was using 80Mi, request is 64Mi, has larger consumption of memory. ',
    );
    expect(annotations).toMatchObject({ offending_pod: 'web', offending_pod_usage: '80Mi', offending_containers: '' });
  });
});

describe('limits of local storage', () => {
  const volume = (bytes: number) => new Map([['scratch', { usedBytes: bytes, inodes: 1 }]]);
  const fs = (mib: number) => ({ usedBytes: mib * MIB, inodes: 1 });

  it.each<[string, Parameters<typeof storageExcess>[1], boolean, string | undefined]>([
    ['an emptyDir as large as it may be', { containers: [], volumes: volume(MIB) }, false, undefined],
    [
      'an emptyDir that is larger',
      { containers: [], volumes: volume(MIB + 1) },
      false,
      'emptydirfs.limit: Usage of EmptyDir volume "scratch" exceeds the limit "1Mi". ',
    ],
    [
      'layer, logs and volumes of the pod together',
      { containers: [{ name: 'log', rootfs: fs(60), logs: fs(40) }], volumes: volume(MIB) },
      false,
      'ephemeralpodfs.limit: Pod ephemeral local storage usage exceeds the total limit of containers 100Mi. ',
    ],
    ['the same in memory', { containers: [], volumes: new Map([['ram', fs(500)]]) }, false, undefined],
    [
      'logs of a container whose layer is not known: the pod’s sum does not have them',
      { containers: [{ name: 'app', logs: fs(101) }], volumes: new Map() },
      true,
      'ephemeralcontainerfs.limit: Container app exceeded its local ephemeral storage limit "100Mi". ',
    ],
  ])('%s', (_what, usage, dedicatedImageFs, expected) => {
    const excess = storageExcess(pod, usage, dedicatedImageFs);
    expect(excess && `${excess.signal}: ${excess.message}`).toBe(expected);
  });

  it('are measured only where there are any', () => {
    const plain: Pod = { metadata: {}, spec: { containers: [{ name: 'a', image: 'i' }] } };
    expect(storageNeeds(plain)).toEqual({ volumes: false, containers: false });
    expect(storageNeeds(pod)).toEqual({ volumes: true, containers: true });
  });
});
