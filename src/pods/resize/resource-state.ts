import type { Files } from '../../host/files/port.ts';
import type { Clock, Timer } from '../../kit/clock.ts';
import { hasCode, messageOf } from '../../kit/errors.ts';
import type { Logger } from '../../kit/log.ts';
import type { ResourceRequirements } from '../../model/pod.ts';
import { readSealedData, sealedData } from '../checkpoint-text.ts';
import { NOTHING_ALLOCATED, type PodAllocation } from './allocation.ts';

export interface ResourceStateDeps {
  readonly files: Pick<Files, 'read' | 'write' | 'rename'>;
  readonly clock: Pick<Clock, 'after'>;
  readonly log: Logger;
}

interface StoredPod {
  ContainerResources?: Record<string, ResourceRequirements> | null;
  PodLevelResources?: ResourceRequirements | null;
}

/** Pods come in bursts; one write serves them all. */
const SETTLE_MS = 20;
const MAX_BYTES = 16 * 1024 * 1024;

/**
 * Allocations by pod UID, kept in a file of kubelet's form and name (allocated_pods_state, actuated_pods_state), so that
 * one finds what the other left. A file that cannot be read is said so and begun anew: kubelet refuses to start, and the
 * pods of the whole node with it.
 */
export class ResourceState {
  private readonly path: string;
  private readonly deps: ResourceStateDeps;
  private pods = new Map<string, PodAllocation>();
  private written = '';
  private timer: Timer | undefined;
  private writing: Promise<void> = Promise.resolve();

  constructor(path: string, deps: ResourceStateDeps) {
    this.path = path;
    this.deps = deps;
  }

  async load(): Promise<void> {
    try {
      const text = (await this.deps.files.read(this.path, { maxBytes: MAX_BYTES })).toString();
      this.pods = decoded(readSealedData(text));
    } catch (error) {
      if (hasCode(error, 'NotFound')) return;
      this.deps.log.error(
        { path: this.path, error: messageOf(error) },
        'cannot read what pods were granted; what they ask for counts as granted',
      );
    }
  }

  get(uid: string): PodAllocation | undefined {
    return this.pods.get(uid);
  }

  set(uid: string, allocation: PodAllocation): void {
    this.pods.set(uid, allocation);
    this.schedule();
  }

  setContainer(uid: string, name: string, resources: ResourceRequirements): void {
    const before = this.pods.get(uid) ?? NOTHING_ALLOCATED;
    this.set(uid, { ...before, containers: { ...before.containers, [name]: resources } });
  }

  setPodLevel(uid: string, resources: ResourceRequirements | undefined): void {
    this.set(uid, { ...(this.pods.get(uid) ?? NOTHING_ALLOCATED), pod: resources });
  }

  /** A pod that is gone leaves the file with the next write: an entry too many does no harm. */
  remove(uid: string): void {
    this.pods.delete(uid);
  }

  /** Drops all but these. */
  retain(uids: ReadonlySet<string>): void {
    for (const uid of this.pods.keys()) if (!uids.has(uid)) this.pods.delete(uid);
  }

  /** Resolves once what was set before the call is on disk, or could not be written (logged). */
  flush(): Promise<void> {
    this.timer?.cancel();
    this.timer = undefined;
    this.writing = this.writing.then(() => this.write());
    return this.writing;
  }

  private schedule(): void {
    this.timer ??= this.deps.clock.after(SETTLE_MS, () => void this.flush());
  }

  private async write(): Promise<void> {
    const text = sealedData(encoded(this.pods));
    if (text === this.written) return;
    try {
      const temporary = `${this.path}.tmp`;
      await this.deps.files.write(temporary, text, 0o600);
      await this.deps.files.rename(temporary, this.path);
      this.written = text;
    } catch (error) {
      this.deps.log.warn({ path: this.path, error: messageOf(error) }, 'cannot write what pods were granted');
    }
  }
}

function encoded(pods: ReadonlyMap<string, PodAllocation>): string {
  const entries: Record<string, StoredPod> = {};
  // Go writes maps in the order of their keys.
  for (const [uid, { containers, pod }] of [...pods].sort(byKey)) {
    entries[uid] = {
      ContainerResources: Object.fromEntries(
        Object.entries(containers)
          .sort(byKey)
          .map(([name, of]) => [name, inOrder(of)]),
      ),
      PodLevelResources: pod === undefined ? null : inOrder(pod),
    };
  }
  return JSON.stringify(pods.size === 0 ? {} : { entries });
}

function decoded(data: string): Map<string, PodAllocation> {
  const { entries } = JSON.parse(data) as { entries?: Record<string, StoredPod> };
  const pods = new Map<string, PodAllocation>();
  for (const [uid, { ContainerResources: containers, PodLevelResources: pod }] of Object.entries(entries ?? {})) {
    pods.set(uid, { containers: containers ?? {}, pod: pod ?? undefined });
  }
  return pods;
}

function inOrder({ limits, requests, claims }: ResourceRequirements): ResourceRequirements {
  return {
    ...(limits === undefined ? {} : { limits: sorted(limits) }),
    ...(requests === undefined ? {} : { requests: sorted(requests) }),
    ...(claims === undefined ? {} : { claims }),
  };
}

function sorted<T>(record: Readonly<Record<string, T>>): Record<string, T> {
  return Object.fromEntries(Object.entries(record).sort(byKey));
}

function byKey([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
