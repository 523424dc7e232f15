import { beforeEach, describe, expect, it } from 'vitest';
import { FakeBlockDevices } from '../../../../src/host/block/fake.ts';
import { FakeFiles } from '../../../../src/host/files/fake.ts';
import { FakeMounts } from '../../../../src/host/mount/fake.ts';
import { CodedError } from '../../../../src/kit/errors.ts';
import { silent } from '../../../../src/kit/log.ts';
import { ManualClock } from '../../../../src/kit/manual-clock.ts';
import { Metrics } from '../../../../src/kit/metrics.ts';
import type { Node } from '../../../../src/model/node.ts';
import type { PersistentVolume, PersistentVolumeClaim } from '../../../../src/model/objects.ts';
import type { Pod, Volume } from '../../../../src/model/pod.ts';
import { StepError } from '../../../../src/pods/step-error.ts';
import { ClaimResolver } from '../../../../src/pods/volumes/claims.ts';
import type { FoundVolume, PodVolume, VolumePlugin } from '../../../../src/pods/volumes/plugin.ts';
import { PodVolumes } from '../../../../src/pods/volumes/pod-volumes.ts';
import { VolumeMetrics } from '../../../../src/pods/volumes/volume-metrics.ts';

const DATA: Volume = { name: 'data', persistentVolumeClaim: { claimName: 'c' } };
const NOT_PROCESSED =
  'Unable to attach or mount volumes: unmounted volumes=[data], unattached volumes=[], failed to process volumes=[data]: ';

/** A kind of volume that remembers what is asked of it, as a plugin of its own would be added. */
class WitnessPlugin implements VolumePlugin {
  readonly name = 'example.com/witness';
  readonly sources = ['csi'];
  readonly supportsMountOptions = true;
  readonly calls: string[] = [];
  failing: string | undefined;
  error: Error | undefined;

  async prepare({ specName, readOnly, pod }: PodVolume): Promise<void> {
    if (this.error !== undefined) throw this.error;
    this.calls.push(`prepare ${pod.metadata.uid} ${specName}${readOnly ? ' ro' : ''}`);
    if (this.failing !== undefined) throw new CodedError('Internal', this.failing);
  }

  async refresh({ specName }: PodVolume): Promise<{ againAtMs: number }> {
    this.calls.push(`refresh ${specName}`);
    return { againAtMs: 77 };
  }

  async locate({ specName }: PodVolume): Promise<{ hostPath: string; readOnly: boolean }> {
    return { hostPath: `/witness/${specName}`, readOnly: false };
  }

  async tearDown({ podUid, specName, directory, volumeMode }: FoundVolume): Promise<void> {
    this.calls.push(`tearDown ${podUid} ${specName} ${volumeMode} ${directory}`);
    if (this.failing !== undefined) throw new CodedError('Internal', this.failing);
  }

  async rebuild(found: readonly FoundVolume[]): Promise<readonly FoundVolume[]> {
    this.calls.push(`rebuild ${found.map(({ podUid, specName }) => `${podUid}/${specName}`).join(' ')}`);
    return [];
  }
}

describe('volumes by claim', () => {
  let events: string[];
  let files: FakeFiles;
  let claim: PersistentVolumeClaim | undefined;
  let volume: PersistentVolume | undefined;
  let node: Node | undefined;
  let witness: WitnessPlugin;
  let volumes: PodVolumes;
  let metrics: Metrics;

  beforeEach(() => {
    events = [];
    files = new FakeFiles({});
    claim = {
      metadata: { name: 'c', namespace: 'ns', uid: 'claim-1' },
      spec: { volumeName: 'pv' },
      status: { phase: 'Bound' },
    };
    volume = {
      metadata: { name: 'pv' },
      spec: { csi: {}, capacity: {}, accessModes: ['ReadWriteOnce'], claimRef: { uid: 'claim-1' } },
    };
    node = { metadata: { name: 'n', labels: { zone: 'a' } } };
    witness = new WitnessPlugin();
    volumes = make();
  });

  function make(): PodVolumes {
    const api = {
      get: async <T>({ plural }: { plural: string }, { name }: { name?: string | undefined }): Promise<T> => {
        const found = plural === 'persistentvolumes' ? volume : claim;
        if (found?.metadata.name !== name) throw new CodedError('NotFound', `${plural} "${name}" not found`);
        return found as T;
      },
    };
    metrics = new Metrics();
    const volumeMetrics = new VolumeMetrics(metrics, new ManualClock());
    const made = new PodVolumes(
      { rootDirectory: '/k' },
      {
        files,
        mounts: new FakeMounts({ exists: async (path) => (await files.stat(path)) !== undefined }),
        clock: new ManualClock(),
        log: silent,
        events: { event: (_about, _type, reason, message) => void events.push(`${reason}: ${message}`) },
        blocks: new FakeBlockDevices(),
        objects: { get: () => Promise.reject(new CodedError('NotFound', 'x')) },
        tokens: { token: async () => ({ token: 't', renewAt: 0 }) },
        allocatable: () => ({}),
        claims: new ClaimResolver({ api, node: () => node }),
        plugins: [witness],
        metrics: volumeMetrics,
      },
    );
    volumeMetrics.count(metrics, made.counts);
    return made;
  }

  /** Samples of volumes, without histograms' buckets and sums. */
  const counted = async (): Promise<string[]> =>
    (await metrics.text()).split('\n').filter((line) => line !== '' && !/^#|_bucket|_sum/.test(line));

  function podWith(given: Volume, uid = 'u1'): Pod {
    return {
      metadata: { name: 'p', namespace: 'ns', uid },
      spec: { containers: [{ name: 'c', volumeMounts: [{ name: given.name, mountPath: '/d' }] }], volumes: [given] },
    };
  }

  it('leads from claim to volume to plugin, and asks the API once for a pod', async () => {
    const pod = podWith({ name: 'data', persistentVolumeClaim: { claimName: 'c', readOnly: true } });
    await volumes.setUp(pod);
    claim = undefined;
    const [mount] = await volumes.mountsFor(pod, pod.spec.containers[0] ?? { name: '' }, {});
    expect(mount).toMatchObject({ hostPath: '/witness/pv', containerPath: '/d' });
    expect(await volumes.refresh(pod)).toEqual({ againAtMs: 77 });
    await volumes.tearDown('u1');
    await expect(volumes.setUp(pod)).rejects.toThrow('failed to fetch PVC');
    expect(witness.calls).toEqual(['rebuild ', 'prepare u1 pv ro', 'refresh pv']);
  });

  const broken: [string, () => void, string][] = [
    [
      'an absent claim',
      () => (claim = undefined),
      'failed to fetch PVC from API server: persistentvolumeclaims "c" not found',
    ],
    ['an unbound claim', () => Object.assign(claim ?? {}, { status: { phase: 'Pending' } }), 'PVC is not bound'],
    ['a claim without a volume', () => Object.assign(claim ?? {}, { spec: {} }), 'PVC has empty pvc.Spec.VolumeName'],
    [
      'a claim that goes',
      () => Object.assign(claim?.metadata ?? {}, { deletionTimestamp: 'now' }),
      'PVC is being deleted',
    ],
    ['an absent volume', () => (volume = undefined), 'failed to fetch PV pv from API server: persistentvolumes "pv"'],
    [
      'an unclaimed volume',
      () => delete volume?.spec?.claimRef,
      'found PV object pv but it has a nil pv.Spec.ClaimRef indicating it is not yet bound to the claim',
    ],
    [
      'a volume of another claim',
      () => Object.assign(volume?.spec ?? {}, { claimRef: { uid: 'other' } }),
      'found PV object pv but its pv.Spec.ClaimRef.UID other does not point to claim.UID claim-1',
    ],
  ];

  it.each(broken)('refuses %s in kubelet’s words', async (_, breaks, why) => {
    breaks();
    const error = await volumes.setUp(podWith(DATA)).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ reason: 'FailedMount', code: 'Unavailable' });
    expect((error as Error).message).toContain(`${NOT_PROCESSED}error processing PVC ns/c: ${why}`);
    expect(witness.calls).toEqual(['rebuild ']);
  });

  it('lets pods use a claim that is protected although it is being deleted', async () => {
    Object.assign(claim?.metadata ?? {}, { deletionTimestamp: 'now', finalizers: ['kubernetes.io/pvc-protection'] });
    await volumes.setUp(podWith(DATA));
  });

  it('refuses a block volume as a mount, and a filesystem as a device', async () => {
    Object.assign(volume?.spec ?? {}, { volumeMode: 'Block' });
    await expect(volumes.setUp(podWith(DATA))).rejects.toThrow(
      'volume data has volumeMode Block, but is specified in volumeMounts',
    );
    Object.assign(volume?.spec ?? {}, { volumeMode: 'Filesystem' });
    const pod = podWith(DATA);
    pod.spec.containers = [{ name: 'c', volumeDevices: [{ name: 'data', devicePath: '/dev/x' }] }];
    await expect(volumes.setUp(pod)).rejects.toThrow(
      'volume data has volumeMode Filesystem, but is specified in volumeDevices',
    );
  });

  it('finds the claim of a generic ephemeral volume by its name, and only its own', async () => {
    const pod = podWith({ name: 'scratch', ephemeral: { volumeClaimTemplate: { spec: {} } } });
    Object.assign(claim?.metadata ?? {}, { name: 'p-scratch' });
    await expect(volumes.setUp(pod)).rejects.toThrow(
      'PVC ns/p-scratch was not created for pod ns/p (pod is not owner)',
    );
    const owner = { apiVersion: 'v1', kind: 'Pod', name: 'p', uid: 'u1' };
    Object.assign(claim?.metadata ?? {}, { ownerReferences: [owner] });
    await expect(volumes.setUp(pod)).rejects.toThrow('pod is not owner');
    Object.assign(claim?.metadata ?? {}, { ownerReferences: [{ ...owner, controller: true }] });
    await volumes.setUp(pod);
    expect(witness.calls).toContain('prepare u1 pv');
  });

  it('mounts a volume only on a node that it can be reached from', async () => {
    const required = (value: string) => ({
      required: { nodeSelectorTerms: [{ matchExpressions: [{ key: 'zone', operator: 'In', values: [value] }] }] },
    });
    Object.assign(volume?.spec ?? {}, { nodeAffinity: required('b') });
    const error = await volumes.setUp(podWith(DATA)).catch((thrown: unknown) => thrown);
    expect((error as Error).message).toBe(
      'MountVolume.NodeAffinity check failed for volume "pv" : no matching NodeSelectorTerms',
    );
    // The next try asks for the volume anew.
    Object.assign(volume?.spec ?? {}, { nodeAffinity: required('a') });
    await volumes.setUp(podWith(DATA));
    node = undefined;
    await expect(make().setUp(podWith(DATA))).rejects.toThrow('labels of this node are not known yet');
  });

  it('refuses mount options where a kind has none', async () => {
    Object.assign(volume ?? {}, {
      spec: { hostPath: { path: '/h' }, mountOptions: ['noatime'], claimRef: { uid: 'claim-1' } },
    });
    await expect(volumes.setUp(podWith(DATA))).rejects.toThrow(
      'MountVolume.MountOptionSupport check failed for volume "pv" : Mount options are not supported on the provided volume type',
    );
    delete volume?.spec?.mountOptions;
    await make().setUp(podWith(DATA));
  });

  it('gives a volume back by what is on disk, after a restart and without the API', async () => {
    const at = '/k/pods/u9/volumes/example.com~witness/pv-9';
    await files.makeDirectory(at, 0o750);
    await files.makeDirectory('/k/pods/u9/volumeDevices/example.com~witness', 0o750);
    await files.symlink('/dev/sdz', '/k/pods/u9/volumeDevices/example.com~witness/pv-b');
    claim = undefined;
    witness.failing = 'driver is away';
    await expect(volumes.tearDown('u9')).rejects.toThrow('driver is away');
    expect(await files.list(at)).toEqual([]);
    expect(witness.calls).toContain('rebuild u9/pv-9 u9/pv-b');
    expect(await counted()).toEqual(
      expect.arrayContaining([
        'reconstruct_volume_operations_total 2',
        'reconstruct_volume_operations_errors_total 0',
        'force_cleaned_failed_volume_operations_total 0',
      ]),
    );
    witness.failing = undefined;
    await volumes.tearDown('u9');
    expect(witness.calls).toContain(`tearDown u9 pv-9 Filesystem ${at}`);
    expect(await volumes.existing()).toEqual([]);
  });

  it('counts volumes and what is done with them, by kubelet’s names', async () => {
    witness.failing = 'no such disk';
    await expect(volumes.setUp(podWith(DATA))).rejects.toThrow();
    const [plugin, driver] = ['example.com/witness', 'a.csi.test'];
    Object.assign(volume?.spec ?? {}, { csi: { driver } });
    witness.failing = undefined;
    await volumes.setUp(podWith(DATA));
    await volumes.setUp(podWith(DATA));
    const operation = (by: string, name: string, status: string): string =>
      `storage_operation_duration_seconds_count{volume_plugin="${by}",operation_name="${name}",status="${status}",migrated="false"}`;
    expect(await counted()).toEqual(
      expect.arrayContaining([
        `${operation(plugin, 'volume_mount', 'fail-unknown')} 1`,
        `${operation(`${plugin}:${driver}`, 'volume_mount', 'success')} 2`,
        `volume_operation_total_seconds_count{plugin_name="${plugin}:${driver}",operation_name="overall_volume_mount"} 1`,
        `volume_manager_total_volumes{plugin_name="${plugin}:${driver}",state="actual_state_of_world"} 1`,
        `volume_manager_total_volumes{plugin_name="${plugin}:${driver}",state="desired_state_of_world"} 1`,
      ]),
    );
    await files.makeDirectory('/k/pods/u1/volumes/example.com~witness/pv', 0o750);
    await volumes.tearDown('u1');
    expect(await counted()).toContain(`${operation(`${plugin}:${driver}`, 'volume_unmount', 'success')} 1`);
    expect((await counted()).join()).not.toContain('volume_manager_total_volumes');
  });

  it('counts what an earlier process left and cannot be taken up, and that it is cleaned up', async () => {
    await files.makeDirectory('/k/pods/u9/volumes/gone.example~kind/pv-1', 0o750);
    await files.makeDirectory('/k/pods/u9/volumes/example.com~witness/pv-2', 0o750);
    witness.failing = 'driver is away';
    await expect(volumes.tearDown('u9')).rejects.toThrow();
    witness.failing = undefined;
    await volumes.tearDown('u9');
    expect(await counted()).toEqual(
      expect.arrayContaining([
        'reconstruct_volume_operations_total 2',
        'reconstruct_volume_operations_errors_total 1',
        'force_cleaned_failed_volume_operations_total 2',
        'force_cleaned_failed_volume_operation_errors_total 1',
      ]),
    );
  });

  it('names the volumes of a pod that is over the limit', async () => {
    witness.error = new StepError('VolumeAttachmentLimitExceeded', 'timed out');
    await expect(volumes.setUp(podWith(DATA))).rejects.toMatchObject({
      reason: 'VolumeAttachmentLimitExceeded',
      message:
        'Node has reached its volume attachment limit, rejecting pod. unmounted volumes=[data], unattached volumes=[data], failed to process volumes=[]: timed out',
    });
  });

  it('says which volume could not be set up, by the volume’s own name', async () => {
    witness.failing = 'no such disk';
    await expect(volumes.setUp(podWith(DATA))).rejects.toThrow(
      'MountVolume.SetUp failed for volume "pv" : no such disk',
    );
  });
});
