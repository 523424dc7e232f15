import type { CsiAccessMode, CsiNodeCapability, CsiVolumeCapability } from '../../../host/csi/port.ts';
import { CodedError } from '../../../kit/errors.ts';
import type { Pod } from '../../../model/pod.ts';
import type { CSIDriver, CSIPersistentVolumeSource, CSIVolumeSource, SecretReference } from '../../../model/storage.ts';
import type { PodVolume } from '../plugin.ts';
import { ephemeralHandle } from './csi-paths.ts';

/** A pod's CSI volume, whether a claim leads to it or it is the pod's own. */
export interface CsiSource {
  readonly driver: string;
  readonly handle: string;
  readonly ephemeral: boolean;
  readonly readOnly: boolean;
  readonly fsType: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly accessModes: readonly string[] | undefined;
  readonly mountOptions: readonly string[];
  readonly stageSecret: SecretReference | undefined;
  readonly publishSecret: SecretReference | undefined;
  readonly expandSecret: SecretReference | undefined;
}

type Capabilities = ReadonlySet<CsiNodeCapability>;

export function csiSourceOf({ pod, volume, bound, readOnly }: PodVolume): CsiSource {
  const { namespace = '', uid = '' } = pod.metadata;
  if (bound === undefined) {
    const inline = volume.csi as CSIVolumeSource;
    const { name } = inline.nodePublishSecretRef ?? {};
    return {
      driver: inline.driver,
      handle: ephemeralHandle(uid, volume.name),
      ephemeral: true,
      readOnly: inline.readOnly === true,
      fsType: inline.fsType ?? '',
      attributes: inline.volumeAttributes ?? {},
      accessModes: undefined,
      mountOptions: [],
      stageSecret: undefined,
      publishSecret: name === undefined ? undefined : { namespace, name },
      expandSecret: undefined,
    };
  }
  const { spec } = bound.volume;
  const csi = spec?.csi as CSIPersistentVolumeSource;
  return {
    driver: csi.driver,
    handle: csi.volumeHandle,
    ephemeral: false,
    readOnly: readOnly || csi.readOnly === true,
    fsType: csi.fsType ?? '',
    attributes: csi.volumeAttributes ?? {},
    accessModes: spec?.accessModes,
    mountOptions: spec?.mountOptions ?? [],
    stageSecret: csi.nodeStageSecretRef,
    publishSecret: csi.nodePublishSecretRef,
    expandSecret: csi.nodeExpandSecretRef,
  };
}

/** What the driver is told of how the volume is used (csi_client.go asCSIAccessModeV1). */
export function csiCapability(
  source: CsiSource,
  volumeMode: PodVolume['volumeMode'],
  able: Capabilities,
  group?: number,
): CsiVolumeCapability {
  const accessMode = accessModeOf(source.accessModes?.[0] ?? 'ReadWriteOnce', able);
  if (volumeMode === 'Block') return { accessMode, access: { type: 'block' } };
  const { fsType, mountOptions: mountFlags } = source;
  const given = group !== undefined && able.has('VOLUME_MOUNT_GROUP') ? { group } : {};
  return { accessMode, access: { type: 'mount', fsType, mountFlags, ...given } };
}

function accessModeOf(mode: string, able: Capabilities): CsiAccessMode {
  const fine = able.has('SINGLE_NODE_MULTI_WRITER');
  switch (mode) {
    case 'ReadWriteOnce':
      return fine ? 'SINGLE_NODE_MULTI_WRITER' : 'SINGLE_NODE_WRITER';
    case 'ReadWriteOncePod':
      return fine ? 'SINGLE_NODE_SINGLE_WRITER' : 'SINGLE_NODE_WRITER';
    case 'ReadOnlyMany':
      return 'MULTI_NODE_READER_ONLY';
    case 'ReadWriteMany':
      return 'MULTI_NODE_MULTI_WRITER';
    default:
      return 'UNKNOWN';
  }
}

/** Throws where the driver does not say that it has volumes of this kind (supportsVolumeLifecycleMode). */
export function checkLifecycleMode({ driver: name, ephemeral }: CsiSource, driver: CSIDriver | undefined): void {
  const mode = ephemeral ? 'Ephemeral' : 'Persistent';
  if (driver === undefined && !ephemeral) return;
  const modes = driver?.spec.volumeLifecycleModes ?? ['Persistent'];
  if (driver !== undefined && modes.includes(mode)) return;
  const why = driver === undefined ? 'no CSIDriver object' : `only supports ${JSON.stringify(modes)}`;
  throw new CodedError('InvalidObject', `volume mode "${mode}" not supported by driver ${name} (${why})`, {
    driver: name,
  });
}

export function isAttachable(driver: CSIDriver | undefined): boolean {
  return driver?.spec.attachRequired !== false;
}

/** What a driver that asks for it learns of the pod (getPodInfoAttrs). */
export function podAttributes({ metadata, spec }: Pod, ephemeral: boolean): Readonly<Record<string, string>> {
  return {
    'csi.storage.k8s.io/pod.name': metadata.name ?? '',
    'csi.storage.k8s.io/pod.namespace': metadata.namespace ?? '',
    'csi.storage.k8s.io/pod.uid': metadata.uid ?? '',
    'csi.storage.k8s.io/serviceAccount.name': spec.serviceAccountName ?? '',
    'csi.storage.k8s.io/ephemeral': String(ephemeral),
  };
}

/** The group that this node gives the volume to, for a driver that does not do so itself (supportsFSGroup). */
export function groupToGive(
  pod: Pod,
  source: CsiSource,
  driver: CSIDriver | undefined,
  able: Capabilities,
): number | undefined {
  const group = pod.spec.securityContext?.fsGroup;
  const policy = driver?.spec.fsGroupPolicy ?? 'ReadWriteOnceWithFSType';
  if (group === undefined || able.has('VOLUME_MOUNT_GROUP') || policy === 'None' || source.readOnly) return undefined;
  if (policy === 'File') return group;
  if (source.fsType === '') return undefined;
  const alone = (source.accessModes ?? []).some((mode) => mode === 'ReadWriteOnce' || mode === 'ReadWriteOncePod');
  return source.ephemeral || alone ? group : undefined;
}

/** gRPC codes after which nobody knows whether the driver is still at it (csi_client.go isFinalError). */
const UNSURE: ReadonlySet<unknown> = new Set([1, 4, 8, 10, 14]);

/** The driver said no and has ended: nothing that it began is left. */
export function isFinal(error: unknown): boolean {
  if (!(error instanceof CodedError)) return true;
  if (error.code === 'Aborted') return false;
  return !UNSURE.has(error.metadata['grpcCode']);
}
