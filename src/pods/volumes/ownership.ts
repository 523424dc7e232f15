import type { EventRecorder } from '../../cluster/port.ts';
import type { Files } from '../../host/files/port.ts';
import type { Mounts } from '../../host/mount/port.ts';
import type { Clock } from '../../kit/clock.ts';
import { messageOf } from '../../kit/errors.ts';
import type { Logger } from '../../kit/log.ts';
import type { Pod } from '../../model/pod.ts';
import { containerReference } from '../act/references.ts';

/** When the pod's user is told that it takes long, and how often after that (pkg/volume/volume_linux.go). */
const FIRST_EVENT_MS = 30_000;
const NEXT_EVENT_MS = 60_000;

export interface VolumeOwnershipDeps {
  readonly files: Files;
  readonly mounts: Pick<Mounts, 'isRemote'>;
  readonly clock: Pick<Clock, 'after'>;
  readonly events: EventRecorder;
  readonly log: Logger;
}

/** Gives volumes that came with contents to their pod's fsGroup, as its fsGroupChangePolicy says. */
export class VolumeOwnership {
  private readonly deps: VolumeOwnershipDeps;
  private remoteWalk: Promise<void> = Promise.resolve();

  constructor(deps: VolumeOwnershipDeps) {
    this.deps = deps;
  }

  /** `directory` is where the pod's volume is mounted. Single files that cannot be changed are left, as kubelet leaves them. */
  async apply(pod: Pod, directory: string, { readOnly = false }: { readonly readOnly?: boolean } = {}): Promise<void> {
    const { fsGroup, fsGroupChangePolicy = 'Always' } = pod.spec.securityContext ?? {};
    if (fsGroup === undefined) return;
    const { files, mounts, log } = this.deps;
    await files.answers(directory);
    let entries = 0;
    let failures = 0;
    const progress = this.tellProgress(pod, directory, () => entries);
    const walk = (): Promise<void> =>
      files.giveToGroup(directory, fsGroup, {
        readOnly,
        changePolicy: fsGroupChangePolicy,
        onEntry: () => entries++,
        onFailure: (error) => {
          failures++;
          if (failures === 1) log.warn({ directory, error: messageOf(error) }, 'fsGroup cannot be set on a file');
        },
      });
    try {
      await ((await mounts.isRemote(directory)) ? this.oneAtATime(walk) : walk());
    } finally {
      progress.cancel();
    }
  }

  /** A walk over a server that goes silent half-way holds one of Node's four threads for file calls: never more than one. */
  private oneAtATime(walk: () => Promise<void>): Promise<void> {
    const mine = this.remoteWalk.then(walk);
    this.remoteWalk = mine.catch(() => {});
    return mine;
  }

  private tellProgress(pod: Pod, directory: string, entries: () => number): { cancel(): void } {
    const { clock, events } = this.deps;
    const about = containerReference(pod);
    const uid = pod.metadata.uid ?? '';
    // What lies below the pod's directory only: the rest is the node's own affair.
    const at = directory.indexOf(uid);
    const named = at === -1 ? directory : directory.slice(at);
    const tell = (message: string): void => events.event(about, 'Warning', 'VolumePermissionChangeInProgress', message);
    const again = (): void => {
      tell(`Setting volume ownership for ${named}, processed ${entries()} files.`);
      timer = clock.after(NEXT_EVENT_MS, again);
    };
    let timer = clock.after(FIRST_EVENT_MS, () => {
      tell(
        `Setting volume ownership for ${named} is taking longer than expected, consider using OnRootMismatch - https://kubernetes.io/docs/tasks/configure-pod-container/security-context/#configure-volume-permission-and-ownership-change-policy-for-pods`,
      );
      timer = clock.after(NEXT_EVENT_MS, again);
    });
    return { cancel: () => timer.cancel() };
  }
}
