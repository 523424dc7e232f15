import type { PersistentVolume, PersistentVolumeClaim } from '../../model/objects.ts';
import type { Pod, PullPolicy, Volume } from '../../model/pod.ts';
import type { VolumeFigures, VolumeMeter } from './volume-figures.ts';

/**
 * One kind of volume on this node. PodVolumes finds the plugin by the field that names the source, resolves claims before
 * it asks, runs one call per pod at a time with a deadline, and turns what is thrown into kubelet's messages
 * (`MountVolume.SetUp failed for volume "x" : …`). All calls are idempotent and keep nothing in memory that a restarted
 * process could not find again below the pod's directory.
 */
export interface VolumePlugin {
  /** Such as "kubernetes.io/csi"; in paths "kubernetes.io~csi". */
  readonly name: string;
  /** The fields of a pod's volume and of a PersistentVolume's spec that are this plugin's, such as "csi". */
  readonly sources: readonly string[];
  /** Whether a PersistentVolume of this kind may have mountOptions. Default: no. */
  readonly supportsMountOptions?: boolean;
  /** Makes a Filesystem volume ready for use, ownership included; a ready one stays as it is. */
  prepare(volume: PodVolume, signal?: AbortSignal): Promise<void>;
  /**
   * Brings a volume in use up to date, for what changes. Called soon after prepare, when something changed that the pod
   * reads, and when due.
   */
  refresh?(volume: PodVolume): Promise<Freshness>;
  /** Where containers find a prepared volume. Touches no filesystem that may hang. */
  locate(volume: PodVolume): Promise<VolumeLocation>;
  /** How it is found out how full a volume in use is; undefined where kubelet does not tell that either. */
  measure?(volume: PodVolume, meter: VolumeMeter): Measurement;
  /**
   * Undoes prepare. The pod may be long gone: the directory and what it holds is all there is. What it leaves mounted or
   * lying in `directory` is unmounted and removed after it, so most kinds need none.
   */
  tearDown?(found: FoundVolume): Promise<void>;
  /** Makes the device of a Block volume ready; answers its path on this host. */
  mapDevice?(volume: PodVolume, signal?: AbortSignal): Promise<string>;
  /** Undoes mapDevice, after the links to the device are gone. */
  unmapDevice?(found: FoundVolume): Promise<void>;
  /** All volumes of a pod are gone. */
  forget?(podUid: string): void;
  /**
   * Told once, before all else, what an earlier process left on this host: to take up or to end what has no pod any more.
   * Answers what could not be taken up.
   */
  rebuild?(found: readonly FoundVolume[]): Promise<readonly FoundVolume[]>;
}

/** A volume of a pod, with what its claim leads to. */
export interface PodVolume {
  readonly pod: Pod;
  /** The pod's own entry. */
  readonly volume: Volume;
  /** Where the entry names a claim. */
  readonly bound?: BoundClaim;
  /** What messages and directories name it by: the PersistentVolume's name, else the pod's name for it. */
  readonly specName: string;
  /** The PersistentVolume is used for reading only (persistentVolumeClaim.readOnly). */
  readonly readOnly: boolean;
  readonly volumeMode: 'Filesystem' | 'Block';
}

export interface BoundClaim {
  readonly claim: PersistentVolumeClaim;
  readonly volume: PersistentVolume;
}

export interface Freshness {
  /** When `refresh` wants to be called again, milliseconds since the epoch. */
  readonly againAtMs?: number;
}

export interface Measurement {
  /** What metrics call the way: du, statfs, block or a CSI driver's name. */
  readonly by: string;
  /** undefined: nothing is known of it. */
  run(signal: AbortSignal): Promise<VolumeFigures | undefined>;
}

export interface VolumeLocation {
  /** "" where the runtime provides the volume itself (`image`). */
  readonly hostPath: string;
  /** Containers get it read-only whatever they ask for. */
  readonly readOnly: boolean;
  readonly image?: { readonly reference: string; readonly pullPolicy?: PullPolicy };
}

/** A volume by what is on disk of it, below `pods/<uid>/volumes` or `pods/<uid>/volumeDevices`. */
export interface FoundVolume {
  readonly podUid: string;
  /** As VolumePlugin.name. */
  readonly plugin: string;
  readonly specName: string;
  readonly volumeMode: 'Filesystem' | 'Block';
  /** `<root>/pods/<uid>/volumes/<plugin>/<specName>`. */
  readonly directory: string;
}
