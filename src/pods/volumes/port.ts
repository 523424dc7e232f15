import type { Device, Mount } from '../../host/cri/port.ts';
import type { Container, Pod } from '../../model/pod.ts';

/**
 * Volumes of pods below `<root>/pods/<uid>/volumes/`. All calls are idempotent; a restarted process finds what is there.
 * Failures are CodedErrors whose message names volume and cause; pods get them as FailedMount events.
 */
export interface VolumeManager {
  /** Makes or refreshes all volumes of the pod; resolves when each is ready for use. */
  setUp(pod: Pod, signal?: AbortSignal): Promise<void>;
  /** Rewrites configMap, secret, downwardAPI and projected contents that changed (atomic ..data swap). */
  refresh(pod: Pod): Promise<{ readonly againAtMs?: number }>;
  /** The mounts of one container, after setUp: volumeMounts with subPath resolved, ready for CRI. */
  mountsFor(pod: Pod, container: Container, environment: Readonly<Record<string, string>>): Promise<Mount[]>;
  /** The Block volumes of one container as devices. */
  devicesFor(pod: Pod, container: Container): Promise<Device[]>;
  /** Groups that the pod's PersistentVolumes ask for (pv.beta.kubernetes.io/gid). */
  extraGroups(pod: Pod): readonly number[];
  /** Unmounts and removes everything of a pod that has ended. Never deletes through a mount. */
  tearDown(podUid: string): Promise<void>;
  /** UIDs that have a directory on disk. */
  existing(): Promise<string[]>;
}
