import { describe, expect, test } from 'vitest';
import { selectPods } from '../../../../src/cluster/drain/select-pods.ts';
import type { OwnerReference } from '../../../../src/model/meta.ts';
import type { Pod } from '../../../../src/model/pod.ts';

const owner = (kind: string, apiVersion = 'apps/v1'): OwnerReference[] => [
  { apiVersion, kind, name: 'owner', uid: 'u', controller: true },
];

function pod(
  name: string,
  metadata: Partial<Pod['metadata']> = {},
  more: { emptyDir?: boolean; phase?: 'Running' | 'Succeeded' | 'Failed' } = {},
): Pod {
  return {
    metadata: { name, namespace: 'ns', ...metadata },
    spec: { containers: [], ...(more.emptyDir ? { volumes: [{ name: 'v', emptyDir: {} }] } : {}) },
    status: { phase: more.phase ?? 'Running' },
  } as Pod;
}

const pods = [
  pod('managed', { ownerReferences: owner('ReplicaSet') }),
  pod('daemon', { ownerReferences: owner('DaemonSet') }),
  pod('daemon-over', { ownerReferences: owner('DaemonSet') }, { phase: 'Failed' }),
  pod('other-daemon', { ownerReferences: owner('DaemonSet', 'example.com/v1') }),
  pod('mirror', { annotations: { 'kubernetes.io/config.mirror': 'x' } }),
  pod('alone'),
  pod('alone-over', {}, { phase: 'Succeeded', emptyDir: true }),
  pod('owned-not-controlled', { ownerReferences: [{ ...owner('Job')[0], controller: false } as OwnerReference] }),
  pod('manifest', { annotations: { 'deckhand.dev/manifest-file': 'a.yaml' } }),
  pod('local', { ownerReferences: owner('StatefulSet') }, { emptyDir: true }),
];

const names = (list: readonly Pod[]): (string | undefined)[] => list.map(({ metadata }) => metadata.name);

describe('which pods a drain ends', () => {
  test('those that come back elsewhere and those that are over; the rest is named as kubectl names it', () => {
    const { evict, errors, warnings } = selectPods(pods, { force: false, deleteEmptyDirData: false });
    expect(names(evict)).toEqual(['managed', 'daemon-over', 'other-daemon', 'alone-over', 'manifest']);
    expect(errors).toEqual([
      'cannot delete Pods that declare no controller (use --force to override): ns/alone, ns/owned-not-controlled',
      'cannot delete Pods with local storage (use --delete-emptydir-data to override): ns/local',
    ]);
    expect(warnings).toEqual(['ignoring DaemonSet-managed Pods: ns/daemon']);
  });

  test('with force and the data of emptyDirs: all but the pods of DaemonSets and mirror pods', () => {
    const { evict, errors, warnings } = selectPods(pods, { force: true, deleteEmptyDirData: true });
    const kept = ['daemon', 'mirror'];
    expect(names(evict)).toEqual(names(pods).filter((name) => !kept.includes(name ?? '')));
    expect(errors).toEqual([]);
    expect(warnings).toEqual([
      'ignoring DaemonSet-managed Pods: ns/daemon',
      'deleting Pods that declare no controller: ns/alone, ns/owned-not-controlled',
      'deleting Pods with local storage: ns/local',
    ]);
  });
});
