import { beforeEach, describe, expect, it } from 'vitest';
import { FakeCsiNode } from '../../../../../src/host/csi/fake.ts';
import type { CsiNodeCapability } from '../../../../../src/host/csi/port.ts';
import { FakeFiles } from '../../../../../src/host/files/fake.ts';
import { FakeMounts } from '../../../../../src/host/mount/fake.ts';
import { silent } from '../../../../../src/kit/log.ts';
import { ManualClock } from '../../../../../src/kit/manual-clock.ts';
import { Metrics } from '../../../../../src/kit/metrics.ts';
import type { Node } from '../../../../../src/model/node.ts';
import type { PersistentVolume, PersistentVolumeClaim } from '../../../../../src/model/objects.ts';
import type { Pod } from '../../../../../src/model/pod.ts';
import { resources } from '../../../../../src/model/resource.ts';
import type { CSIDriver, VolumeAttachment } from '../../../../../src/model/storage.ts';
import { attachmentName } from '../../../../../src/pods/volumes/csi/csi-paths.ts';
import { CsiPlugin } from '../../../../../src/pods/volumes/csi/csi-plugin.ts';
import type { FoundVolume, PodVolume } from '../../../../../src/pods/volumes/plugin.ts';
import { VolumeMetrics } from '../../../../../src/pods/volumes/volume-metrics.ts';
import { MemoryApi } from '../../../cluster/memory-api.ts';
import { FakeView } from '../../../services/support/fake-view.ts';

const ROOT = '/var/lib/kubelet';
const DRIVER = 'd.test';
const UNIQUE = `kubernetes.io/csi/${DRIVER}^vol`;

describe('CsiPlugin', () => {
  let files: FakeFiles;
  let mounts: FakeMounts;
  let clock: ManualClock;
  let api: MemoryApi;
  let driver: FakeCsiNode;
  let objects: FakeView<CSIDriver>;
  let node: Node;
  let nodeListeners: Set<() => void>;
  let registered: Map<string, FakeCsiNode>;
  let tellRegistered: (name: string) => void;
  let wentOn: string[];
  let updated: string[];
  let events: string[];
  let plugin: CsiPlugin;
  let tokens: number;

  const driverObject = (spec: CSIDriver['spec']): CSIDriver => ({ metadata: { name: DRIVER }, spec });

  beforeEach(async () => {
    files = new FakeFiles({ boundAt: (path) => mounts.boundAt(path) });
    mounts = new FakeMounts({ exists: async (path) => (await files.stat(path)) !== undefined });
    clock = new ManualClock();
    api = new MemoryApi();
    api.now = () => clock.now();
    node = { metadata: { name: 'n' } };
    nodeListeners = new Set();
    wentOn = [];
    updated = [];
    events = [];
    tokens = 0;
    objects = new FakeView([driverObject({ attachRequired: false })]);
    await files.makeDirectory('/csi/vol', 0o755);
    driver = makeDriver();
    registered = new Map([[DRIVER, driver]]);
    plugin = makePlugin();
    await plugin.rebuild([]);
  });

  function makeDriver(capabilities?: readonly CsiNodeCapability[]): FakeCsiNode {
    return new FakeCsiNode(
      { volumes: new Map([['vol', 1 << 20]]), ...(capabilities === undefined ? {} : { capabilities }) },
      {
        mount: async (_, path) => {
          await files.makeDirectory(path, 0o750);
          await mounts.bind('/csi/vol', path);
        },
        unmount: (path) => mounts.unmount(path),
      },
    );
  }

  /** As after a restart with the default boot. */
  function makePlugin(bootId = 'boot-1', volumeHealth = false): CsiPlugin {
    return new CsiPlugin(
      { rootDirectory: ROOT, nodeName: 'n', bootId, refreshMs: 60_000, volumeHealth },
      {
        files,
        mounts,
        drivers: {
          get: (name) => registered.get(name),
          update: async (name) => void updated.push(name),
          subscribe: (listener) => {
            tellRegistered = listener;
            return () => {};
          },
        },
        driverObjects: () => objects,
        api,
        tokens: {
          token: async () => ({ token: `t${++tokens}`, renewAt: 0, expiresAt: Date.UTC(2026, 0, 2) }),
        },
        events: { event: (about, _type, reason, message) => events.push(`${about.kind} ${reason} ${message}`) },
        node: () => node,
        onNodeChange: (listener) => {
          nodeListeners.add(listener);
          return () => nodeListeners.delete(listener);
        },
        usersChanged: () => {},
        podsCanGoOn: (uids) => wentOn.push(...uids),
        metrics: new VolumeMetrics(new Metrics(), clock),
        clock,
        log: silent,
      },
    );
  }

  function volumeOf(uid = 'u1', more: Partial<PodVolume> & { csi?: object; pod?: Pod } = {}): PodVolume {
    const claim: PersistentVolumeClaim = {
      metadata: { name: 'c', namespace: 'ns', uid: 'claim' },
      spec: { accessModes: ['ReadWriteOnce'], volumeName: 'pv' },
      status: { phase: 'Bound', capacity: { storage: '1Mi' } },
    };
    const volume: PersistentVolume = {
      metadata: { name: 'pv' },
      spec: {
        accessModes: ['ReadWriteOnce'],
        capacity: { storage: '1Mi' },
        csi: { driver: DRIVER, volumeHandle: 'vol', fsType: 'ext4', ...more.csi },
      },
    };
    const pod: Pod = {
      metadata: { name: 'p', namespace: 'ns', uid },
      spec: { containers: [], nodeName: 'n' },
    };
    return {
      pod,
      volume: { name: 'v', persistentVolumeClaim: { claimName: 'c' } },
      bound: { claim, volume },
      specName: 'pv',
      readOnly: false,
      volumeMode: 'Filesystem',
      ...more,
    };
  }

  const directoryOf = (uid: string, name = 'pv'): string => `${ROOT}/pods/${uid}/volumes/kubernetes.io~csi/${name}`;
  const foundOf = (uid: string, specName = 'pv'): FoundVolume => ({
    podUid: uid,
    plugin: 'kubernetes.io/csi',
    specName,
    volumeMode: 'Filesystem',
    directory: directoryOf(uid, specName),
  });
  const dataOf = async (directory: string): Promise<unknown> =>
    JSON.parse((await files.read(`${directory}/vol_data.json`)).toString());
  const allBelow = async (directory: string): Promise<string[]> => {
    const names = (await files.list(directory)) ?? [];
    const inner = await Promise.all(
      names.map(async (name) => {
        const path = `${directory}/${name}`;
        return (await files.lstat(path))?.kind === 'directory' ? allBelow(path) : [path];
      }),
    );
    return inner.flat();
  };

  it('keeps what kubelet keeps on disk, and asks nobody again after a restart', async () => {
    await plugin.prepare(volumeOf());
    expect(await dataOf(directoryOf('u1'))).toEqual({
      specVolID: 'pv',
      volumeHandle: 'vol',
      driverName: DRIVER,
      nodeName: 'n',
      attachmentID: attachmentName('vol', DRIVER, 'n'),
      volumeLifecycleMode: 'Persistent',
      'deckhand.dev/ready': 'boot-1',
    });
    expect(await plugin.locate(volumeOf())).toEqual({ hostPath: `${directoryOf('u1')}/mount`, readOnly: false });
    const before = [...driver.calls];
    registered.clear();
    plugin = makePlugin();
    await plugin.rebuild([foundOf('u1')]);
    await plugin.prepare(volumeOf());
    expect(driver.calls).toEqual(before);
  });

  it('makes everything anew after a reboot, as it does what kubelet left', async () => {
    await plugin.prepare(volumeOf());
    for (const { mountPoint } of (await mounts.list(ROOT)).reverse()) await mounts.unmount(mountPoint);
    driver = makeDriver();
    registered.set(DRIVER, driver);
    await makePlugin('boot-2').prepare(volumeOf());
    expect(driver.calls.filter((call) => call.endsWith(' vol'))).toEqual([
      'NodeStageVolume vol',
      'NodePublishVolume vol',
    ]);
    expect((await mounts.list(directoryOf('u1'))).map(({ mountPoint }) => mountPoint)).toEqual([
      `${directoryOf('u1')}/mount`,
    ]);
  });

  it('undoes a volume by what is on disk alone, last user last', async () => {
    await plugin.prepare(volumeOf('u1'));
    await plugin.prepare(volumeOf('u2'));
    plugin = makePlugin();
    await plugin.rebuild([foundOf('u1'), foundOf('u2')]);
    await plugin.tearDown(foundOf('u1'));
    expect(driver.staged.has('vol')).toBe(true);
    expect(driver.calls).not.toContain('NodeUnstageVolume vol');
    await plugin.tearDown(foundOf('u2'));
    expect(driver.staged.size + driver.published.size).toBe(0);
    expect(await mounts.list(ROOT)).toEqual([]);
    expect(await allBelow(ROOT)).toEqual([]);
    await plugin.tearDown(foundOf('u2'));
    expect(plugin.users.inUse()).toEqual([]);
  });

  it('can be undone again and again until the driver has done its part', async () => {
    await plugin.prepare(volumeOf());
    driver.refuse('NodeUnstageVolume', { code: 'Internal', grpcCode: 13, words: 'busy' });
    await expect(plugin.tearDown(foundOf('u1'))).rejects.toThrow(
      'kubernetes.io/csi: attacher.UnmountDevice failed: rpc error: code = Internal desc = busy',
    );
    driver.refuse('NodeUnstageVolume', undefined);
    registered.clear();
    await expect(plugin.tearDown(foundOf('u1'))).rejects.toMatchObject({ code: 'Unavailable' });
    registered.set(DRIVER, driver);
    await plugin.tearDown(foundOf('u1'));
    expect(await allBelow(ROOT)).toEqual([]);
  });

  it('leaves nothing of a volume whose driver refuses it, and everything where that is not sure', async () => {
    driver.refuse('NodeStageVolume', { code: 'InvalidArgument', grpcCode: 3, words: 'no such tier' });
    await expect(plugin.prepare(volumeOf())).rejects.toThrow('rpc error: code = InvalidArgument desc = no such tier');
    expect(await allBelow(ROOT)).toEqual([]);
    driver.refuse('NodeStageVolume', { code: 'DeadlineExceeded', grpcCode: 4, words: 'context deadline exceeded' });
    await expect(plugin.prepare(volumeOf())).rejects.toMatchObject({ code: 'DeadlineExceeded' });
    expect((await allBelow(ROOT)).map((path) => path.slice(path.lastIndexOf('/') + 1))).toEqual([
      'vol_data.json',
      'vol_data.json',
    ]);
    await plugin.tearDown(foundOf('u1'));
    expect(driver.calls.slice(-2)).toEqual(['NodeUnpublishVolume vol', 'NodeUnstageVolume vol']);
    expect(await allBelow(ROOT)).toEqual([]);
  });

  it('unstages what could be staged but not published', async () => {
    driver.refuse('NodePublishVolume', { code: 'Internal', grpcCode: 13, words: 'no' });
    await expect(plugin.prepare(volumeOf())).rejects.toThrow('mounter.SetUpAt failed: rpc error: code = Internal');
    await plugin.tearDown(foundOf('u1'));
    expect(driver.staged.size).toBe(0);
    expect(await mounts.list(ROOT)).toEqual([]);
  });

  it('gives up a call when the pod ends, and undoes what may have come of it', async () => {
    driver.hang('NodePublishVolume');
    const stop = new AbortController();
    const prepared = plugin.prepare(volumeOf(), stop.signal);
    while (!driver.calls.includes('NodePublishVolume vol')) await clock.advance(0);
    stop.abort(new Error('the pod is being ended'));
    await expect(prepared).rejects.toMatchObject({ code: 'Aborted' });
    await plugin.tearDown(foundOf('u1'));
    expect(driver.staged.size).toBe(0);
  });

  it('asks the driver how full a volume is, and believes what it says of its health where the gate is on', async () => {
    const stats = { disk: async () => undefined, space: () => Promise.reject(), deviceBytes: async () => 0 };
    const meter = { stats, now: () => 5 };
    const measure = () => plugin.measure(volumeOf(), meter).run(new AbortController().signal);
    expect(await measure()).toEqual({
      capacityBytes: 1 << 20,
      availableBytes: (1 << 20) - 4096,
      usedBytes: 4096,
      inodes: 100,
      inodesFree: 93,
      inodesUsed: 7,
      atMs: 5,
    });
    expect(plugin.measure(volumeOf(), meter).by).toBe(DRIVER);
    plugin = makePlugin('boot-1', true);
    driver = makeDriver(['GET_VOLUME_STATS', 'VOLUME_CONDITION']);
    registered.set(DRIVER, driver);
    expect(await measure()).toMatchObject({ condition: { abnormal: false, message: '' } });
    driver.condition = { abnormal: true, message: 'on fire' };
    expect(await measure()).toMatchObject({ usedBytes: 4096, condition: { abnormal: true, message: 'on fire' } });
    driver = makeDriver(['STAGE_UNSTAGE_VOLUME']);
    registered.set(DRIVER, driver);
    expect(await measure()).toBeUndefined();
    expect(driver.calls).not.toContain('NodeGetVolumeStats vol');
    registered.clear();
    expect(await measure()).toBeUndefined();
  });

  it('lets pods go on when their driver registers', async () => {
    registered.clear();
    await expect(plugin.prepare(volumeOf('u7'))).rejects.toThrow(
      `driver name ${DRIVER} not found in the list of registered CSI drivers`,
    );
    expect(await allBelow(ROOT)).toEqual([]);
    tellRegistered('other.test');
    expect(wentOn).toEqual([]);
    tellRegistered(DRIVER);
    expect(wentOn).toEqual(['u7']);
  });

  it('does not stage with a driver that cannot, nor volumes of the pod itself', async () => {
    driver = makeDriver([]);
    registered.set(DRIVER, driver);
    await plugin.prepare(volumeOf());
    expect(driver.published.get(`${directoryOf('u1')}/mount`)).not.toHaveProperty('stagingTargetPath');
    await plugin.tearDown(foundOf('u1'));
    objects.put(driverObject({ volumeLifecycleModes: ['Ephemeral'], podInfoOnMount: true }));
    const { bound: _, ...inline } = volumeOf('u2', { specName: 'v', volume: { name: 'v', csi: { driver: DRIVER } } });
    await plugin.prepare(inline);
    expect(driver.calls.join()).not.toContain('Stage');
    expect(plugin.users.inUse()).toEqual([]);
    await plugin.tearDown(foundOf('u2', 'v'));
    expect(await allBelow(ROOT)).toEqual([]);
  });

  it('waits until the node says that a volume is in use and attached, and until its attachment says so', async () => {
    objects.put(driverObject({}));
    let done = false;
    const prepared = plugin.prepare(volumeOf()).then(() => {
      done = true;
    });
    await clock.advance(1000);
    expect(plugin.users.inUse()).toEqual([UNIQUE]);
    node = {
      metadata: { name: 'n' },
      status: { volumesInUse: [UNIQUE], volumesAttached: [{ name: UNIQUE, devicePath: '' }] },
    };
    for (const listener of nodeListeners) listener();
    await clock.advance(1000);
    expect(driver.calls).toEqual([]);
    api.put<VolumeAttachment>(resources.volumeattachments, {
      metadata: { name: attachmentName('vol', DRIVER, 'n') },
      spec: { attacher: DRIVER, nodeName: 'n', source: { persistentVolumeName: 'pv' } },
      status: { attached: true, attachmentMetadata: { lun: '9' } },
    });
    expect(done).toBe(false);
    await clock.advance(5000);
    await prepared;
    expect(driver.published.get(`${directoryOf('u1')}/mount`)?.publishContext).toEqual({ lun: '9' });
    expect(nodeListeners.size).toBe(0);
  });

  it('says what an attachment waits for when it does not come about', async () => {
    objects.put(driverObject({}));
    const prepared = plugin.prepare(volumeOf());
    prepared.catch(() => {});
    await clock.advance(120_000);
    await expect(prepared).rejects.toThrow(
      `Volume has not been added to the list of VolumesInUse in the node's volume status for volume "pv" (UniqueName: "${UNIQUE}")`,
    );
    plugin.forget('u1');
    expect(plugin.users.inUse()).toEqual([]);
  });

  it('finds that this node has as many volumes of the driver as it can, where the driver counts them', async () => {
    api.put<VolumeAttachment>(resources.volumeattachments, {
      metadata: { name: attachmentName('vol', DRIVER, 'n') },
      spec: { attacher: DRIVER, nodeName: 'n', source: { persistentVolumeName: 'pv' } },
      status: { attached: false, attachError: { message: 'too many', errorCode: 8 } },
    });
    const attempt = async (spec: CSIDriver['spec']): Promise<unknown> => {
      objects.put(driverObject(spec));
      const prepared = plugin.prepare(volumeOf()).catch((error: unknown) => error);
      await clock.advance(120_000);
      return prepared;
    };
    expect(await attempt({})).toMatchObject({ code: 'DeadlineExceeded' });
    expect(updated).toEqual([]);
    expect(await attempt({ nodeAllocatableUpdatePeriodSeconds: 60 })).toMatchObject({
      reason: 'VolumeAttachmentLimitExceeded',
    });
    expect(updated).toEqual([DRIVER]);
  });

  it('publishes again where the driver wants that, with new tokens, and keeps what is there if that fails', async () => {
    objects.put(driverObject({ attachRequired: false, requiresRepublish: true, tokenRequests: [{ audience: '' }] }));
    await plugin.prepare(volumeOf());
    const target = `${directoryOf('u1')}/mount`;
    const tokenOf = (): unknown =>
      JSON.parse(driver.published.get(target)?.volumeContext['csi.storage.k8s.io/serviceAccount.tokens'] ?? '{}');
    expect(tokenOf()).toEqual({ '': { token: 't1', expirationTimestamp: '2026-01-02T00:00:00Z' } });
    api.put(resources.persistentvolumeclaims, volumeOf().bound?.claim as PersistentVolumeClaim);
    api.put(resources.persistentvolumes, volumeOf().bound?.volume as PersistentVolume);
    expect(await plugin.refresh(volumeOf())).toEqual({ againAtMs: clock.now() + 60_000 });
    expect(tokenOf()).toEqual({ '': { token: 't2', expirationTimestamp: '2026-01-02T00:00:00Z' } });
    driver.refuse('NodePublishVolume', { code: 'Internal', grpcCode: 13, words: 'no' });
    await expect(plugin.refresh(volumeOf())).rejects.toThrow('rpc error');
    expect((await mounts.list(target)).length).toBe(1);
    registered.clear();
    await expect(plugin.refresh(volumeOf())).resolves.toEqual({ againAtMs: clock.now() + 60_000 });
  });

  describe('growing', () => {
    const claimOf = (status: object): PersistentVolumeClaim =>
      api.put<PersistentVolumeClaim>(resources.persistentvolumeclaims, {
        metadata: { name: 'c', namespace: 'ns', uid: 'claim' },
        spec: { accessModes: ['ReadWriteOnce'] },
        status: { phase: 'Bound', capacity: { storage: '1Mi' }, ...status },
      });
    const sizeOf = (storage: string): void => {
      const { volume } = volumeOf().bound ?? {};
      api.put<PersistentVolume>(resources.persistentvolumes, {
        metadata: { name: 'pv' },
        spec: { ...volume?.spec, capacity: { storage } },
      });
    };
    const claim = (): PersistentVolumeClaim | undefined => api.find(resources.persistentvolumeclaims, 'ns/c');
    const PENDING = {
      allocatedResources: { storage: '4Mi' },
      allocatedResourceStatuses: { storage: 'NodeResizePending' },
      conditions: [
        { type: 'FileSystemResizePending', status: 'True' },
        { type: 'Other', status: 'True' },
      ],
    };

    beforeEach(async () => {
      await plugin.prepare(volumeOf());
      driver.calls.length = 0;
    });

    it('asks the driver once and tells the claim', async () => {
      sizeOf('4Mi');
      claimOf(PENDING);
      await plugin.refresh(volumeOf());
      await plugin.refresh(volumeOf());
      expect(driver.calls).toEqual(['NodeExpandVolume vol']);
      expect(claim()?.status).toEqual({
        phase: 'Bound',
        capacity: { storage: '4Mi' },
        allocatedResources: { storage: '4Mi' },
        conditions: [{ type: 'Other', status: 'True' }],
      });
      const words = 'FileSystemResizeSuccessful MountVolume.NodeExpandVolume succeeded for volume "pv" n';
      expect(events).toEqual([`Pod ${words}`, `PersistentVolumeClaim ${words}`]);
    });

    it('tells of a volume that is used for reading only, and leaves it as it is', async () => {
      const { bound } = volumeOf();
      if (bound?.volume.spec?.capacity !== undefined) bound.volume.spec.capacity['storage'] = '4Mi';
      const readOnly = { ...volumeOf('u2'), readOnly: true, ...(bound === undefined ? {} : { bound }) };
      await plugin.prepare(readOnly);
      expect(driver.calls.join()).not.toContain('Expand');
      const words =
        'FileSystemResizeFailed MountVolume.NodeExpandVolume failed for volume "pv" requested read-only file system';
      expect(events).toEqual([`Pod ${words}`, `PersistentVolumeClaim ${words}`]);
    });

    it('does as an older resizer needs, which says nothing of its steps', async () => {
      sizeOf('2Mi');
      claimOf({});
      await plugin.refresh(volumeOf());
      expect(claim()?.status).toMatchObject({ capacity: { storage: '2Mi' } });
    });

    it('waits for the controller, and leaves alone what has its size', async () => {
      sizeOf('1Mi');
      claimOf({});
      await plugin.refresh(volumeOf());
      sizeOf('4Mi');
      claimOf({ ...PENDING, allocatedResourceStatuses: { storage: 'ControllerResizeInProgress' } });
      await plugin.refresh(volumeOf());
      expect(driver.calls).toEqual([]);
    });

    it('marks what can never be as infeasible, and other failures as such', async () => {
      sizeOf('4Mi');
      claimOf(PENDING);
      driver.refuse('NodeExpandVolume', { code: 'InvalidArgument', grpcCode: 11, words: 'too large' });
      await expect(plugin.refresh(volumeOf())).rejects.toThrow(
        'NodeExpandVolume.NodeExpandVolume failed for volume "pv"',
      );
      expect(events[0]).toMatch(/^Pod VolumeResizeFailed NodeExpandVolume.NodeExpandVolume failed for volume "pv" : /);
      expect(claim()?.status).toMatchObject({ allocatedResourceStatuses: { storage: 'NodeResizeInfeasible' } });
      expect(JSON.stringify(claim()?.status)).toContain(
        'failed to expand pvc with rpc error: code = OutOfRange desc = too large',
      );
      claimOf(PENDING);
      driver.refuse('NodeExpandVolume', { code: 'Internal', grpcCode: 13, words: 'oops' });
      await expect(plugin.refresh(volumeOf())).rejects.toThrow('oops');
      expect(claim()?.status).toMatchObject({ allocatedResourceStatuses: { storage: 'NodeResizeInProgress' } });
      driver.refuse('NodeExpandVolume', undefined);
      await plugin.refresh(volumeOf());
      expect(claim()?.status).toMatchObject({ capacity: { storage: '4Mi' }, conditions: [{ type: 'Other' }] });
    });

    it('does not ask again where the driver cannot grow a volume in use', async () => {
      sizeOf('4Mi');
      claimOf(PENDING);
      driver.refuse('NodeExpandVolume', { code: 'Conflict', grpcCode: 9, words: 'in use' });
      await plugin.refresh(volumeOf());
      await plugin.refresh(volumeOf());
      expect(driver.calls).toEqual(['NodeExpandVolume vol']);
    });
  });

  it.each([
    ['File', {}, true],
    ['None', { fsType: 'ext4' }, false],
    ['ReadWriteOnceWithFSType', { fsType: '' }, false],
    ['ReadWriteOnceWithFSType', { fsType: 'xfs' }, true],
    [undefined, { fsType: 'xfs' }, true],
    ['File', { readOnly: true }, false],
  ] as const)('with fsGroupPolicy %s and %j gives the volume to the group: %s', async (fsGroupPolicy, csi, given) => {
    objects.put(driverObject({ attachRequired: false, ...(fsGroupPolicy === undefined ? {} : { fsGroupPolicy }) }));
    const volume = volumeOf('u1', { csi });
    volume.pod.spec.securityContext = { fsGroup: 77 };
    await plugin.prepare(volume);
    expect(
      (await files.stat('/csi/vol'))?.gid === 77 || (await files.lstat(`${directoryOf('u1')}/mount`))?.gid === 77,
    ).toBe(given);
  });

  it('leaves fsGroup to a driver that does it itself', async () => {
    driver = makeDriver(['STAGE_UNSTAGE_VOLUME', 'VOLUME_MOUNT_GROUP']);
    registered.set(DRIVER, driver);
    const volume = volumeOf();
    volume.pod.spec.securityContext = { fsGroup: 77 };
    await plugin.prepare(volume);
    expect(driver.published.get(`${directoryOf('u1')}/mount`)?.capability.access).toMatchObject({ group: 77 });
    expect((await files.stat('/csi/vol'))?.gid).toBe(0);
  });
});
