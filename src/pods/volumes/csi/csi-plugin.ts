import type { ApiClient, EventRecorder, TokenSource, View } from '../../../cluster/port.ts';
import type { CsiDrivers, CsiNode, CsiNodeCapability } from '../../../host/csi/port.ts';
import type { Files } from '../../../host/files/port.ts';
import type { Mounts } from '../../../host/mount/port.ts';
import type { Clock } from '../../../kit/clock.ts';
import type { Unsubscribe } from '../../../kit/emitter.ts';
import { CodedError, hasCode, messageOf } from '../../../kit/errors.ts';
import type { Logger } from '../../../kit/log.ts';
import type { Node } from '../../../model/node.ts';
import type { CSIDriver } from '../../../model/storage.ts';
import { rpcErrorText, StepError } from '../../step-error.ts';
import type { FoundVolume, Freshness, Measurement, PodVolume, VolumeLocation, VolumePlugin } from '../plugin.ts';
import { PodPaths } from '../pod-paths.ts';
import { ATTACH_LIMIT } from '../volume-errors.ts';
import type { VolumeMeter } from '../volume-figures.ts';
import type { VolumeMetrics } from '../volume-metrics.ts';
import { CsiAttachments } from './csi-attachments.ts';
import { publishContextOf, secretValues } from './csi-context.ts';
import { CsiExpansion } from './csi-expansion.ts';
import { csiFigures } from './csi-figures.ts';
import { attachmentName, CSI_PLUGIN, CsiPaths } from './csi-paths.ts';
import {
  type CsiSource,
  checkLifecycleMode,
  csiCapability,
  csiSourceOf,
  groupToGive,
  isAttachable,
  isFinal,
} from './csi-source.ts';
import { CsiUsers } from './csi-users.ts';
import { READY, readVolumeData, removeVolumeData, type VolumeData, writeVolumeData } from './vol-data.ts';
import { VolumeLocks } from './volume-locks.ts';

export interface CsiPluginOptions {
  readonly rootDirectory: string;
  readonly nodeName: string;
  /** What a volume was made ready in: a later boot has lost it. */
  readonly bootId: string;
  /** How often volumes in use are looked at for a new size, and published anew where the driver wants that. */
  readonly refreshMs: number;
  /** Drivers are believed when they say how well a volume is (gate CSIVolumeHealth). */
  readonly volumeHealth: boolean;
}

export interface CsiPluginDeps {
  readonly files: Files;
  readonly mounts: Mounts;
  readonly drivers: CsiDrivers;
  /** The cluster's CSIDriver objects, asked for with the first volume. */
  readonly driverObjects: () => View<CSIDriver>;
  readonly api: Pick<ApiClient, 'get' | 'patch'>;
  readonly tokens: Pick<TokenSource, 'token'>;
  readonly events: EventRecorder;
  readonly node: () => Node | undefined;
  readonly onNodeChange: (listener: () => void) => Unsubscribe;
  /** Told when the list of volumes in use has changed, which the Node has to say before a volume can be attached. */
  readonly usersChanged: () => void;
  /** Told of pods that waited for a driver which has registered now. */
  readonly podsCanGoOn: (uids: readonly string[]) => void;
  readonly metrics: Pick<VolumeMetrics, 'timed'>;
  readonly clock: Clock;
  readonly log: Logger;
}

type Capabilities = ReadonlySet<CsiNodeCapability>;

/** All that a call needs to know of one volume. */
interface Work {
  readonly volume: PodVolume;
  readonly uid: string;
  readonly source: CsiSource;
  readonly driver: CSIDriver | undefined;
  readonly client: CsiNode;
  readonly able: Capabilities;
  readonly attachment: Readonly<Record<string, string>>;
  readonly signal: AbortSignal | undefined;
}

/** The API answers within seconds, or the cluster's CSIDriver objects are not to be had now. */
const OBJECTS_MS = 10_000;

/** Volumes of CSI drivers (pkg/volume/csi): attached elsewhere, staged once on this node, published for each pod. */
export class CsiPlugin implements VolumePlugin {
  readonly name = CSI_PLUGIN;
  readonly sources = ['csi'];
  readonly supportsMountOptions = true;
  readonly users: CsiUsers;
  private readonly options: CsiPluginOptions;
  private readonly deps: CsiPluginDeps;
  private readonly paths: CsiPaths;
  private readonly podPaths: PodPaths;
  private readonly attachments: CsiAttachments;
  private readonly expansion: CsiExpansion;
  private readonly locks = new VolumeLocks();
  private readonly abilities = new WeakMap<CsiNode, Capabilities>();
  /** By driver: pods that cannot go on without it. */
  private readonly waiting = new Map<string, Set<string>>();

  constructor(options: CsiPluginOptions, deps: CsiPluginDeps) {
    this.options = options;
    this.deps = deps;
    this.paths = new CsiPaths(options.rootDirectory);
    this.podPaths = new PodPaths(options.rootDirectory);
    this.attachments = new CsiAttachments(options.nodeName, deps);
    this.expansion = new CsiExpansion(deps);
    this.users = new CsiUsers({ ...deps, paths: this.paths, podPaths: this.podPaths });
    deps.drivers.subscribe((driver) => {
      const pods = this.waiting.get(driver);
      this.waiting.delete(driver);
      if (pods !== undefined) deps.podsCanGoOn([...pods]);
    });
  }

  async prepare(volume: PodVolume, signal?: AbortSignal): Promise<void> {
    const source = csiSourceOf(volume);
    const uid = uidOf(volume);
    const directory = this.directoryOf(volume);
    const target = `${directory}/mount`;
    if (!source.ephemeral) this.users.add(source, uid);
    // Nothing that is there already needs its driver, nor the API.
    const known = await readVolumeData(this.deps.files, directory);
    if (known !== undefined && this.isReady(known) && (await this.isMounted(directory))) return;
    const work = await this.begin(volume, source, signal);
    const data = { ...this.dataOf(source, volume.specName), ...lifecycleOf(source) };
    const stagingPath = await this.locks.run(lockOf(source), async () => {
      // Written first: whoever ends the last pod of a volume sees this one.
      await writeVolumeData(this.deps.files, directory, data);
      return source.ephemeral ? undefined : this.stage(work, directory);
    });
    if (stagingPath !== undefined) await this.expand(work, stagingPath, stagingPath);
    await this.publish(work, target, stagingPath);
    if (stagingPath === undefined && !source.ephemeral) await this.expand(work, target, undefined);
    await this.giveToGroup(work, target);
    await writeVolumeData(this.deps.files, directory, { ...data, [READY]: this.options.bootId });
  }

  async refresh(volume: PodVolume): Promise<Freshness> {
    const source = csiSourceOf(volume);
    const { clock, drivers, metrics } = this.deps;
    const driver = await this.driverObject(source.driver, undefined);
    const republish = driver?.spec.requiresRepublish === true && volume.volumeMode === 'Filesystem';
    const canGrow = !source.ephemeral && !source.readOnly;
    if (!republish && !canGrow) return {};
    const againAtMs = clock.now() + this.options.refreshMs;
    // A driver that is away for a moment is no misfortune of a pod that has its volume.
    if (drivers.get(source.driver) === undefined) return { againAtMs };
    const work = await this.begin(volume, source, undefined);
    const staged = work.able.has('STAGE_UNSTAGE_VOLUME') && !source.ephemeral;
    const target = this.targetOf(volume);
    const stagingPath = staged ? this.stagingPathOf(volume, source) : undefined;
    if (republish) await this.publish(work, target, stagingPath, true);
    if (canGrow) {
      const { client, able } = work;
      await metrics.timed(qualified(source.driver), 'volume_fs_resize', () =>
        this.expansion.check({ volume, source, client, path: target, stagingPath }, able),
      );
    }
    return { againAtMs };
  }

  async locate(volume: PodVolume): Promise<VolumeLocation> {
    const { readOnly } = csiSourceOf(volume);
    return { hostPath: `${this.directoryOf(volume)}/mount`, readOnly };
  }

  async tearDown(found: FoundVolume): Promise<void> {
    if (found.volumeMode === 'Block') return;
    const { files } = this.deps;
    const { directory, podUid } = found;
    const data = await readVolumeData(files, directory);
    if (data === undefined) return;
    const { driverName: driver, volumeHandle: handle } = data;
    const client = this.client(driver, podUid, 'Unmounter.TearDownAt');
    const target = `${directory}/mount`;
    try {
      await client.unpublish({ volumeId: handle, targetPath: target });
    } catch (error) {
      throw driverError('Unmounter.TearDownAt failed', error);
    }
    await this.removeTarget(directory);
    if (data.volumeLifecycleMode === 'Ephemeral') {
      await removeVolumeData(files, directory);
      return;
    }
    await this.locks.run(lockOf({ driver, handle }), async () => {
      if (!(await this.users.others({ driver, handle }, podUid))) {
        await this.unstage(client, driver, handle);
        this.expansion.forget(lockOf({ driver, handle }));
      }
      // Last: while it is there, all this can be done again.
      await removeVolumeData(files, directory);
    });
    this.users.remove({ driver, handle }, podUid);
  }

  async mapDevice(volume: PodVolume, signal?: AbortSignal): Promise<string> {
    const { files } = this.deps;
    const source = csiSourceOf(volume);
    const uid = uidOf(volume);
    const { specName } = volume;
    const target = `${this.paths.devicePublications(specName)}/${uid}`;
    this.users.add(source, uid);
    if ((await files.stat(target))?.kind === 'blockDevice') return target;
    const work = await this.begin(volume, source, signal);
    const stagingPath = await this.locks.run(lockOf(source), async () => {
      const directory = this.paths.deviceData(specName);
      const known = await readVolumeData(files, directory);
      if (known === undefined) await writeVolumeData(files, directory, this.dataOf(source, specName));
      await files.makeDirectory(this.paths.devicePublications(specName), 0o750);
      return this.stageDevice(work, known !== undefined && this.isReady(known));
    });
    if (stagingPath !== undefined) await this.expand(work, stagingPath, stagingPath);
    await this.publish(work, target, stagingPath);
    return target;
  }

  async unmapDevice({ specName, podUid }: FoundVolume): Promise<void> {
    const { files, metrics } = this.deps;
    const directory = this.paths.deviceData(specName);
    const data = await readVolumeData(files, directory);
    if (data === undefined) return;
    const { driverName: driver, volumeHandle: handle } = data;
    const client = this.client(driver, podUid, 'blockMapper.UnmapPodDevice');
    const target = `${this.paths.devicePublications(specName)}/${podUid}`;
    try {
      await client.unpublish({ volumeId: handle, targetPath: target });
    } catch (error) {
      throw driverError('blockMapper.unpublishVolumeForBlock failed', error);
    }
    if ((await files.lstat(target))?.kind === 'file') await files.remove(target);
    await this.locks.run(lockOf({ driver, handle }), async () => {
      const left = (await files.list(this.paths.devicePublications(specName))) ?? [];
      if (left.length > 0) return;
      const staging = this.paths.deviceStaging(specName);
      const able = await this.capabilitiesOf(client);
      if (able.has('STAGE_UNSTAGE_VOLUME') && (await files.lstat(staging)) !== undefined) {
        try {
          await metrics.timed(qualified(driver), 'unmap_device', () =>
            client.unstage({ volumeId: handle, stagingTargetPath: staging }),
          );
        } catch (error) {
          throw driverError('blockMapper.unstageVolumeForBlock failed', error);
        }
        await files.removeTree(staging);
      }
      await files.removeDirectory(this.paths.devicePublications(specName));
      await files.removeTree(this.paths.device(specName));
      this.expansion.forget(lockOf({ driver, handle }));
    });
    this.users.remove({ driver, handle }, podUid);
  }

  forget(podUid: string): void {
    this.users.drop(podUid);
    for (const [driver, pods] of this.waiting) if (pods.delete(podUid) && pods.size === 0) this.waiting.delete(driver);
  }

  async rebuild(found: readonly FoundVolume[]): Promise<readonly FoundVolume[]> {
    const { files, log } = this.deps;
    const failed: FoundVolume[] = [];
    for (const volume of found) {
      const { directory, podUid, specName, volumeMode } = volume;
      const at = volumeMode === 'Block' ? this.paths.deviceData(specName) : directory;
      try {
        const data = await readVolumeData(files, at);
        if (data === undefined) failed.push(volume);
        if (data === undefined || data.volumeLifecycleMode === 'Ephemeral') continue;
        this.users.add({ driver: data.driverName, handle: data.volumeHandle }, podUid);
      } catch (error) {
        failed.push(volume);
        log.warn({ pod: podUid, volume: specName, error: messageOf(error) }, 'a CSI volume could not be taken up');
      }
    }
    this.users.complete();
    return failed;
  }

  /** How full a volume is, as its driver says. */
  measure(volume: PodVolume, { now }: VolumeMeter): Measurement {
    const { driver, handle } = csiSourceOf(volume);
    return {
      by: driver,
      run: async () => {
        const client = this.deps.drivers.get(driver);
        const able = client === undefined ? undefined : await this.capabilitiesOf(client);
        if (client === undefined || able?.has('GET_VOLUME_STATS') !== true) return undefined;
        const atMs = now();
        const told = await client.stats({ volumeId: handle, volumePath: this.targetOf(volume) });
        return csiFigures(told, atMs, this.options.volumeHealth && able.has('VOLUME_CONDITION'));
      },
    };
  }

  // ── one volume ────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Finds the driver and what the cluster says of it, and waits until the volume is attached. */
  private async begin(volume: PodVolume, source: CsiSource, signal: AbortSignal | undefined): Promise<Work> {
    const uid = uidOf(volume);
    const driver = await this.driverObject(source.driver, signal);
    checkLifecycleMode(source, driver);
    const attachable = !source.ephemeral && isAttachable(driver);
    const { driver: name } = source;
    // The list of volumes in use may not have been known until the CSIDriver objects were.
    if (attachable) this.deps.usersChanged();
    const attachment = attachable ? await this.attached(volume, source, driver, signal) : {};
    const client = this.client(name, uid, 'mounter.SetUpAt');
    const able = await this.capabilitiesOf(client);
    return { volume, uid, source, driver, client, able, attachment, signal };
  }

  private async attached(
    { specName }: PodVolume,
    { driver: name, handle }: CsiSource,
    driver: CSIDriver | undefined,
    signal: AbortSignal | undefined,
  ): Promise<Readonly<Record<string, string>>> {
    const { metrics, drivers, log } = this.deps;
    try {
      return await metrics.timed(qualified(name), 'verify_controller_attached_volume', () =>
        this.attachments.attached(name, handle, specName, signal),
      );
    } catch (error) {
      const counted = (driver?.spec.nodeAllocatableUpdatePeriodSeconds ?? 0) > 0;
      if (!counted || signal?.aborted === true || !(await this.attachments.exhausted(name, handle))) throw error;
      await drivers.update?.(name).catch((why: unknown) => {
        log.warn({ driver: name, error: messageOf(why) }, 'the count of volumes of a CSI driver was not updated');
      });
      throw new StepError(ATTACH_LIMIT, messageOf(error), 'ResourceExhausted', error);
    }
  }

  /** Answers the staging path; undefined where the driver does not stage. */
  private async stage(work: Work, podDirectory: string): Promise<string | undefined> {
    const { files } = this.deps;
    const { source, able, client, volume, attachment, signal } = work;
    const directory = this.paths.volume(source.driver, source.handle);
    const stagingPath = this.paths.staging(source.driver, source.handle);
    const data = { volumeHandle: source.handle, driverName: source.driver };
    const known = await readVolumeData(files, directory);
    if (!able.has('STAGE_UNSTAGE_VOLUME')) return undefined;
    if (known !== undefined && this.isReady(known)) return stagingPath;
    const secrets = await secretValues(this.deps, source.stageSecret, 'NodeStageSecretRef', signal);
    await writeVolumeData(files, directory, data);
    await files.makeDirectory(stagingPath, 0o750);
    const group = volume.pod.spec.securityContext?.fsGroup;
    try {
      await client.stage(
        {
          volumeId: source.handle,
          stagingTargetPath: stagingPath,
          capability: csiCapability(source, 'Filesystem', able, group),
          publishContext: attachment,
          volumeContext: source.attributes,
          secrets,
        },
        signal,
      );
    } catch (error) {
      if (isFinal(error)) {
        await this.removeStaging(directory, stagingPath);
        await removeVolumeData(files, podDirectory);
      }
      throw driverError('attacher.MountDevice failed', error);
    }
    await writeVolumeData(files, directory, { ...data, [READY]: this.options.bootId });
    return stagingPath;
  }

  private async stageDevice(work: Work, staged: boolean): Promise<string | undefined> {
    const { files } = this.deps;
    const { source, able, client, volume, attachment, signal } = work;
    if (!able.has('STAGE_UNSTAGE_VOLUME')) return undefined;
    const stagingPath = this.paths.deviceStaging(volume.specName);
    if (staged) return stagingPath;
    const secrets = await secretValues(this.deps, source.stageSecret, 'NodeStageSecretRef', signal);
    await files.makeDirectory(stagingPath, 0o750);
    try {
      await client.stage(
        {
          volumeId: source.handle,
          stagingTargetPath: stagingPath,
          capability: csiCapability(source, 'Block', able),
          publishContext: attachment,
          volumeContext: source.attributes,
          secrets,
        },
        signal,
      );
    } catch (error) {
      throw driverError('blockMapper.stageVolumeForBlock failed', error);
    }
    const data = { ...this.dataOf(source, volume.specName), [READY]: this.options.bootId };
    await writeVolumeData(files, this.paths.deviceData(volume.specName), data);
    return stagingPath;
  }

  private async publish(work: Work, target: string, stagingPath: string | undefined, again = false): Promise<void> {
    const { source, able, client, volume, driver, attachment, signal } = work;
    const { volumeContext, secrets } = await publishContextOf(this.deps, volume.pod, source, driver, signal);
    const group = volume.pod.spec.securityContext?.fsGroup;
    try {
      await client.publish(
        {
          volumeId: source.handle,
          ...(stagingPath === undefined ? {} : { stagingTargetPath: stagingPath }),
          targetPath: target,
          capability: csiCapability(source, volume.volumeMode, able, group),
          readOnly: source.readOnly,
          publishContext: attachment,
          volumeContext,
          secrets,
        },
        signal,
      );
    } catch (error) {
      // What is in use already stays as it is, whatever becomes of its renewal.
      if (isFinal(error) && !again && volume.volumeMode === 'Filesystem') {
        await this.removeTarget(this.directoryOf(volume));
      }
      throw driverError('mounter.SetUpAt failed', error);
    }
  }

  private async expand(work: Work, path: string, stagingPath: string | undefined): Promise<void> {
    const { volume, source, client, able } = work;
    await this.expansion.atMount({ volume, source, client, path, stagingPath }, able);
  }

  private async giveToGroup({ volume: { pod }, source, driver, able }: Work, target: string): Promise<void> {
    const group = groupToGive(pod, source, driver, able);
    if (group === undefined) return;
    const { files, metrics } = this.deps;
    const policy = pod.spec.securityContext?.fsGroupChangePolicy;
    const changePolicy = policy === 'OnRootMismatch' ? 'OnRootMismatch' : 'Always';
    try {
      await metrics.timed(qualified(source.driver), 'volume_apply_access_control', () =>
        files.giveToGroup(target, group, { readOnly: false, changePolicy }),
      );
    } catch (error) {
      const code = error instanceof CodedError ? error.code : 'Internal';
      throw new CodedError(code, `applyFSGroup failed for vol ${source.handle}: ${messageOf(error)}`, {}, error);
    }
  }

  private async unstage(client: CsiNode, driver: string, handle: string): Promise<void> {
    const directory = this.paths.volume(driver, handle);
    const stagingPath = this.paths.staging(driver, handle);
    if ((await readVolumeData(this.deps.files, directory)) === undefined) return;
    const able = await this.capabilitiesOf(client);
    if (able.has('STAGE_UNSTAGE_VOLUME')) {
      try {
        await this.deps.metrics.timed(qualified(driver), 'unmount_device', () =>
          client.unstage({ volumeId: handle, stagingTargetPath: stagingPath }),
        );
      } catch (error) {
        throw driverError('attacher.UnmountDevice failed', error);
      }
    }
    await this.removeStaging(directory, stagingPath);
  }

  // ── what is on disk ───────────────────────────────────────────────────────────────────────────────────────────────

  private directoryOf(volume: PodVolume): string {
    return this.podPaths.volume(uidOf(volume), CSI_PLUGIN, volume.specName);
  }

  /** Where the driver has published it. */
  private targetOf(volume: PodVolume): string {
    return volume.volumeMode === 'Block'
      ? `${this.paths.devicePublications(volume.specName)}/${uidOf(volume)}`
      : `${this.directoryOf(volume)}/mount`;
  }

  private stagingPathOf({ specName, volumeMode }: PodVolume, { driver, handle }: CsiSource): string {
    return volumeMode === 'Block' ? this.paths.deviceStaging(specName) : this.paths.staging(driver, handle);
  }

  private dataOf({ driver, handle }: CsiSource, specName: string): VolumeData {
    const { nodeName } = this.options;
    const attachmentID = attachmentName(handle, driver, nodeName);
    return { specVolID: specName, volumeHandle: handle, driverName: driver, nodeName, attachmentID };
  }

  private isReady(data: VolumeData): boolean {
    return data[READY] !== undefined && data[READY] === this.options.bootId;
  }

  /** The mount table has paths without symlinks, and the root directory may be reached through one. */
  private async isMounted(directory: string): Promise<boolean> {
    const { files, mounts } = this.deps;
    const target = `${await files.realPath(directory)}/mount`;
    return (await mounts.list(target)).some(({ mountPoint }) => mountPoint === target);
  }

  /** The driver removes what it made at its target; for one that does not, what is empty and no mount goes here. */
  private async removeTarget(directory: string): Promise<void> {
    if (await this.isMounted(directory)) return;
    await this.deps.files.removeDirectory(`${directory}/mount`).catch((error: unknown) => {
      if (!hasCode(error, 'Conflict', 'NotFound', 'InvalidArgument')) throw error;
    });
  }

  private async removeStaging(directory: string, stagingPath: string): Promise<void> {
    const { files } = this.deps;
    await files.removeDirectory(stagingPath).catch((error: unknown) => {
      if (!hasCode(error, 'NotFound')) throw error;
    });
    await removeVolumeData(files, directory);
  }

  // ── drivers ───────────────────────────────────────────────────────────────────────────────────────────────────────

  private client(driver: string, podUid: string, what: string): CsiNode {
    const found = this.deps.drivers.get(driver);
    if (found !== undefined) return found;
    const pods = this.waiting.get(driver) ?? new Set();
    this.waiting.set(driver, pods.add(podUid));
    throw new CodedError(
      'Unavailable',
      `${CSI_PLUGIN}: ${what} failed to get CSI client: driver name ${driver} not found in the list of registered CSI drivers`,
      { driver },
    );
  }

  private async capabilitiesOf(client: CsiNode): Promise<Capabilities> {
    const known = this.abilities.get(client);
    if (known !== undefined) return known;
    try {
      const found = await client.capabilities();
      this.abilities.set(client, found);
      return found;
    } catch (error) {
      throw driverError('failed to ask for the capabilities of the node service', error);
    }
  }

  private async driverObject(name: string, signal: AbortSignal | undefined): Promise<CSIDriver | undefined> {
    const view = this.deps.driverObjects();
    if (!view.synced) await this.firstObjects(view, signal);
    return view.get(name);
  }

  private async firstObjects(view: View<CSIDriver>, signal: AbortSignal | undefined): Promise<void> {
    const patience = new AbortController();
    const timer = this.deps.clock.after(OBJECTS_MS, () => patience.abort());
    try {
      await view.whenSynced(signal === undefined ? patience.signal : AbortSignal.any([signal, patience.signal]));
    } catch (error) {
      if (signal?.aborted === true) throw error;
      throw new CodedError('Unavailable', `${CSI_PLUGIN}: CSIDriver objects have not been read yet`, {}, error);
    } finally {
      timer.cancel();
    }
  }
}

function uidOf({ pod }: PodVolume): string {
  return pod.metadata.uid ?? '';
}

function lockOf({ driver, handle }: Pick<CsiSource, 'driver' | 'handle'>): string {
  return `${driver}^${handle}`;
}

/** What metrics call the volumes of a driver. */
function qualified(driver: string): string {
  return `${CSI_PLUGIN}:${driver}`;
}

function lifecycleOf({ ephemeral }: CsiSource): Pick<VolumeData, 'volumeLifecycleMode'> {
  return { volumeLifecycleMode: ephemeral ? 'Ephemeral' : 'Persistent' };
}

/** A driver's refusal in kubelet's words. */
function driverError(what: string, error: unknown): CodedError {
  const { code, metadata } = error instanceof CodedError ? error : new CodedError('Internal', '');
  return new CodedError(code, `${CSI_PLUGIN}: ${what}: ${rpcErrorText(error)}`, metadata, error);
}
