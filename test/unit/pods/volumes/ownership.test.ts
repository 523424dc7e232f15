import { beforeEach, describe, expect, it } from 'vitest';
import { FakeFiles } from '../../../../src/host/files/fake.ts';
import type { GroupOptions } from '../../../../src/host/files/port.ts';
import { CodedError } from '../../../../src/kit/errors.ts';
import { silent } from '../../../../src/kit/log.ts';
import { ManualClock } from '../../../../src/kit/manual-clock.ts';
import type { Pod } from '../../../../src/model/pod.ts';
import { VolumeOwnership } from '../../../../src/pods/volumes/ownership.ts';

const DIRECTORY = '/k/pods/u1/volumes/kubernetes.io~local-volume/pv';

/** Files whose walks end when the test says so. */
class SlowFiles extends FakeFiles {
  readonly walks: { readonly path: string; readonly options: GroupOptions; readonly end: (error?: unknown) => void }[] =
    [];

  override giveToGroup(path: string, _gid: number, options: GroupOptions): Promise<void> {
    return new Promise((resolve, reject) => {
      const end = (error?: unknown): void => (error === undefined ? resolve() : reject(error));
      this.walks.push({ path, options, end });
    });
  }
}

describe('VolumeOwnership', () => {
  let files: SlowFiles;
  let clock: ManualClock;
  let events: string[];
  let remote: Set<string>;
  let ownership: VolumeOwnership;

  beforeEach(() => {
    files = new SlowFiles();
    clock = new ManualClock();
    events = [];
    remote = new Set();
    ownership = new VolumeOwnership({
      files,
      mounts: { isRemote: async (path) => remote.has(path) },
      clock,
      events: { event: (_about, type, reason, message) => void events.push(`${type} ${reason} ${message}`) },
      log: silent,
    });
  });

  const podWith = (securityContext: Pod['spec']['securityContext']): Pod => ({
    metadata: { name: 'p', namespace: 'ns', uid: 'u1' },
    spec: { containers: [], ...(securityContext === undefined ? {} : { securityContext }) },
  });
  const settle = async (): Promise<void> => {
    for (let turn = 0; turn < 20; turn++) await Promise.resolve();
  };

  it('does nothing without an fsGroup, and passes the policy on', async () => {
    await ownership.apply(podWith(undefined), DIRECTORY);
    expect(files.walks).toEqual([]);
    const done = ownership.apply(podWith({ fsGroup: 5, fsGroupChangePolicy: 'OnRootMismatch' }), DIRECTORY);
    await settle();
    expect(files.walks[0]?.options).toMatchObject({ changePolicy: 'OnRootMismatch', readOnly: false });
    files.walks[0]?.end();
    await done;
    await clock.advance(300_000);
    expect(events).toEqual([]);
  });

  it('tells the pod’s user after 30 s, and each minute after that, how far it is', async () => {
    const done = ownership.apply(podWith({ fsGroup: 5 }), DIRECTORY);
    await settle();
    await clock.advance(29_999);
    expect(events).toEqual([]);
    await clock.advance(1);
    for (let n = 0; n < 7; n++) files.walks[0]?.options.onEntry?.();
    await clock.advance(60_000);
    await clock.advance(60_000);
    const warn =
      'Warning VolumePermissionChangeInProgress Setting volume ownership for u1/volumes/kubernetes.io~local-volume/pv';
    expect(events[0]).toContain(`${warn} is taking longer than expected, consider using OnRootMismatch - https://`);
    expect(events.slice(1)).toEqual([`${warn}, processed 7 files.`, `${warn}, processed 7 files.`]);
    files.walks[0]?.end();
    await done;
    await clock.advance(300_000);
    expect(events).toHaveLength(3);
  });

  it('goes on over what cannot be changed, and ends with what ends the walk', async () => {
    const done = ownership.apply(podWith({ fsGroup: 5 }), DIRECTORY);
    await settle();
    files.walks[0]?.options.onFailure?.(new CodedError('Forbidden', 'read-only'));
    files.walks[0]?.end(new CodedError('NotFound', 'the directory is gone'));
    await expect(done).rejects.toThrow('the directory is gone');
  });

  it('walks over one remote filesystem at a time, and over others beside it', async () => {
    for (const path of ['/r1', '/r2']) remote.add(path);
    const first = ownership.apply(podWith({ fsGroup: 5 }), '/r1');
    const second = ownership.apply(podWith({ fsGroup: 5 }), '/r2');
    const local = ownership.apply(podWith({ fsGroup: 5 }), '/l');
    await settle();
    expect(files.walks.map(({ path }) => path).sort()).toEqual(['/l', '/r1']);
    files.walks.find(({ path }) => path === '/r1')?.end(new CodedError('Internal', 'gone'));
    await expect(first).rejects.toThrow('gone');
    await settle();
    expect(files.walks.map(({ path }) => path)).toContain('/r2');
    for (const { end } of files.walks) end();
    await Promise.all([second, local]);
  });
});
