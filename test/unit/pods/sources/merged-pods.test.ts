import { beforeEach, describe, expect, it } from 'vitest';
import type { Change } from '../../../../src/cluster/port.ts';
import { silent } from '../../../../src/kit/log.ts';
import type { Pod } from '../../../../src/model/pod.ts';
import { MergedPods } from '../../../../src/pods/sources/merged-pods.ts';
import { FakeView } from '../../services/support/fake-view.ts';
import { manifest, podFrom } from './support.ts';

function apiPod(name: string, uid: string, annotations: Record<string, string> = {}): Pod {
  return {
    metadata: { name, namespace: 'default', uid, resourceVersion: '1', annotations },
    spec: { containers: [{ name: 'c', image: 'x' }] },
  };
}

function mirrorOf(pod: Pod, uid = 'mirror', more: Partial<Pod> = {}): Pod {
  const annotations = { ...pod.metadata.annotations, 'kubernetes.io/config.mirror': pod.metadata.uid ?? '' };
  return { ...pod, ...more, metadata: { ...pod.metadata, uid, annotations } };
}

describe('pods of all sources', () => {
  let api: FakeView<Pod>;
  let merged: MergedPods;
  let changes: Change<Pod>[];
  let events: string[];
  let fixed: Pod;
  const uids = (): string[] => [...merged.values()].map(({ metadata }) => metadata.uid ?? '').sort();

  beforeEach(async () => {
    api = new FakeView<Pod>([], false);
    events = [];
    merged = new MergedPods(
      { sources: ['file', 'http'] },
      { api, log: silent, events: { event: (_about, _type, reason, message) => events.push(`${reason}: ${message}`) } },
    );
    changes = [];
    merged.subscribe((change) => changes.push(change));
    fixed = await podFrom(manifest('fixed'));
  });

  it('has the pods of the API but not mirror pods', () => {
    api.put(apiPod('a', 'a'), mirrorOf(fixed));
    expect(uids()).toEqual(['a']);
    api.delete('default/a');
    expect(uids()).toEqual([]);
    expect(changes.map(({ current }) => current?.metadata.uid)).toEqual(['a', undefined]);
  });

  it('follows a pod of the API that another one of its name replaces', () => {
    api.put(apiPod('a', 'one'));
    api.put(apiPod('a', 'two'));
    expect(uids()).toEqual(['two']);
    expect(merged.byUID('one')).toBeUndefined();
  });

  it('tells of static pods that come, go and change, and of nothing else', async () => {
    merged.setStatic('file', [fixed]);
    merged.setStatic('file', [await podFrom(manifest('fixed'), '/m/a.yaml', 5000)]);
    expect(changes).toHaveLength(1);
    const other = await podFrom(manifest('fixed', 'other'));
    merged.setStatic('file', [other]);
    expect(uids()).toEqual([other.metadata.uid]);
    merged.setStatic('file', []);
    expect(uids()).toEqual([]);
    expect(changes.map(({ previous, current }) => [previous?.metadata.uid, current?.metadata.uid])).toEqual([
      [undefined, fixed.metadata.uid],
      [fixed.metadata.uid, undefined],
      [undefined, other.metadata.uid],
      [other.metadata.uid, undefined],
    ]);
  });

  it('takes a change under the same UID for one, and keeps when it was met first', async () => {
    const own = (image: string, at: number): Promise<Pod> =>
      podFrom(manifest('own', image).replace('{name: own}', '{name: own, uid: mine}'), '/m/a.yaml', at);
    merged.setStatic('file', [await own('one', 1000)]);
    merged.setStatic('file', [await own('two', 2000)]);
    const pod = merged.byUID('mine');
    expect(pod?.spec.containers[0]?.image).toBe('two');
    expect(pod?.metadata.annotations?.['kubernetes.io/config.seen']).toBe('1970-01-01T00:00:01.000Z');
  });

  it('has both when two sources have a pod of one name', () => {
    merged.setStatic('file', [fixed]);
    api.put(apiPod('fixed-node-1', 'api'));
    expect(uids()).toEqual([fixed.metadata.uid ?? '', 'api'].sort());
    expect(merged.staticPod('default/fixed-node-1')?.metadata.uid).toBe(fixed.metadata.uid);
    merged.setStatic('file', []);
    expect(merged.get('default/fixed-node-1')?.metadata.uid).toBe('api');
  });

  it('refuses the second pod of one name in one source', async () => {
    merged.setStatic('http', [fixed, await podFrom(manifest('fixed', 'other'))]);
    expect(uids()).toEqual([fixed.metadata.uid]);
    expect(events.join()).toMatch(
      /^FailedValidation: Error validating pod fixed-node-1_default\(.*\) from http due to duplicate pod name "fixed-node-1", ignoring$/,
    );
  });

  it('knows what is unwanted only when all have spoken, of static pods when files and URL have', () => {
    const complete: number[] = [];
    merged.onComplete(() => complete.push(1));
    const asks = (): boolean[] => [merged.complete, merged.judges('f'.repeat(32)), merged.judges('uid-of-the-api')];
    merged.open();
    expect(asks()).toEqual([false, false, false]);
    merged.setStatic('file', []);
    expect(asks()).toEqual([false, false, false]);
    merged.setStatic('http', []);
    expect(asks()).toEqual([false, true, false]);
    api.markSynced();
    merged.apiListed();
    expect(asks()).toEqual([true, true, true]);
    expect(complete).not.toEqual([]);
  });

  it('opens with the status that the mirror pod has', () => {
    merged.setStatic('file', [fixed]);
    api.put(mirrorOf(fixed, 'mirror', { status: { phase: 'Running', startTime: '2026-01-01T00:00:00Z' } }));
    merged.open();
    expect(merged.byUID(fixed.metadata.uid ?? '')?.status?.startTime).toBe('2026-01-01T00:00:00Z');
  });

  it('takes no status from a mirror pod of another version', async () => {
    merged.setStatic('file', [fixed]);
    const other = await podFrom(manifest('fixed', 'other'));
    api.put(mirrorOf(other, 'mirror', { status: { phase: 'Running' } }));
    merged.open();
    expect(merged.byUID(fixed.metadata.uid ?? '')?.status?.phase).toBe('Pending');
    expect(merged.statusTarget(fixed.metadata.uid ?? '')).toBeUndefined();
  });

  it('says where a status belongs', () => {
    merged.setStatic('file', [fixed]);
    const uid = fixed.metadata.uid ?? '';
    expect(merged.statusTarget(uid)).toBeUndefined();
    api.put(mirrorOf(fixed));
    expect(merged.statusTarget(uid)).toEqual({ uid: 'mirror', mirror: true });
    api.put(apiPod('a', 'a'));
    expect(merged.statusTarget('a')).toEqual({ uid: 'a', mirror: false });
  });

  it('has the pods of a checkpoint until the API has spoken', () => {
    merged.setCheckpoint([apiPod('stays', 'stays'), apiPod('goes', 'goes')]);
    merged.open();
    expect(uids()).toEqual(['goes', 'stays']);
    expect(merged.statusTarget('stays')).toBeUndefined();
    api.put(apiPod('stays', 'stays'));
    api.markSynced();
    merged.apiListed();
    expect(uids()).toEqual(['stays']);
    expect(merged.statusTarget('stays')).toEqual({ uid: 'stays', mirror: false });
    merged.setCheckpoint([apiPod('late', 'late')]);
    expect(uids()).toEqual(['stays']);
  });
});
