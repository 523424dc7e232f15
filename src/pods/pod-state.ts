import type { Image } from '../host/cri/port.ts';
import { afterFailure, type BackoffEntry, type BackoffOptions } from '../kit/backoff.ts';
import type { Pod, PodStatus } from '../model/pod.ts';
import { parseTime } from '../model/time.ts';
import { containersOf, findContainer } from './container-kinds.ts';
import {
  type ContainerFacts,
  CRASH_RESET_MS,
  type KillFacts,
  noContainerFacts,
  type PodEnd,
  type PodFacts,
  type StepFailure,
} from './facts.ts';
import { identityOf, type PodIdentity } from './identity.ts';
import { ResizeConditions } from './resize/resize-conditions.ts';

/** First delay of the crash back-off (kubelet: 10 s, doubled per crash). */
const CRASH_BASE_MS = 10_000;

/** The facts of one pod, and the named transitions that change them. Owned by the pod loop, its one writer. */
export class PodState implements PodFacts {
  readonly identity: PodIdentity;
  readonly startTime: number;
  readonly running = new Set<string>();
  prepared = false;
  cgroupReady = false;
  readonly stoppedSandboxes = new Set<string>();
  volumesGone = false;
  cgroupGone = false;
  readonly failures = new Map<string, StepFailure>();
  readonly containers = new Map<string, ContainerFacts>();
  readonly kills = new Map<string, KillFacts>();
  end: PodEnd | undefined;
  discard = false;
  lastStatus: PodStatus | undefined;
  finalized = false;
  cleanedUp = false;

  /** The object as seen last, with the resources that it was granted; it stays after the API has dropped it. */
  pod: Pod;
  /** The same with the resources that it asks for. */
  desired: Pod;
  readonly resize = new ResizeConditions();
  intent: 'run' | 'delete' | 'gone';
  /** Aborts what starts the pod as soon as it must end. */
  readonly starting = new AbortController();
  /** Containers whose start this process has seen, as opposed to adopted ones. */
  readonly startedHere = new Set<string>();
  /** Bytes that the pod used at most, by the killed container about which that was asked (MemoryDoubts). */
  readonly memoryPeaks = new Map<string, number | undefined>();
  /** The images that containers are made from, for their user. */
  readonly images = new Map<string, Image>();
  /** Contents of volumes may have changed since they were written. */
  volumesStale = false;
  /** When a token in them wants renewal, by the monotonic clock: a clock that is set back must not put that off. */
  volumesAgainAt: number | undefined;
  lastStatusText = '';
  /** When this process met the pod, and whether it has seen it Ready since. */
  readonly seenAt: number;
  wasReady = false;
  /** The status that the API had when this process met the pod. */
  readonly adoptedStatus: PodStatus | undefined;
  /** The waiting reason per container that an event was recorded for last. */
  readonly backoffShown = new Map<string, string>();
  /** What it was told last of the node's network, which it waits for; "": it does not. */
  networkProblem = '';
  /** Whether this node runs the pod; decided once, and granted to what runs already. */
  admission: 'open' | 'granted' | 'refused' = 'open';
  /** A static pod: no other one of its name stands in its way (any more). */
  hasTurn = false;
  /** Something that admission depends on is being read or made room for; the pod does not go on meanwhile. */
  held = false;
  /** Nobody had an object for it when this process met it: the runtime ran it. */
  readonly foundInRuntime: boolean;
  /** It has had a run, and of which version of its object the last one was. */
  ranVersion: string | undefined;
  /** Called once nothing of the pod runs any more. */
  readonly whenStopped: (() => void)[] = [];

  get ending(): boolean {
    return this.starting.signal.aborted;
  }

  constructor(pod: Pod, intent: 'run' | 'delete' | 'gone', now: number) {
    this.identity = identityOf(pod);
    this.pod = pod;
    this.desired = pod;
    this.intent = intent;
    this.foundInRuntime = intent === 'gone';
    this.seenAt = now;
    this.startTime = parseTime(pod.status?.startTime) ?? now;
    this.lastStatus = pod.status;
    this.adoptedStatus = pod.status;
  }

  /** The API's newer copy of the pod; returns whether anything that volumes or containers are made of changed. */
  adopt(pod: Pod, desired: Pod = pod): void {
    this.desired = desired;
    if (pod === this.pod) return;
    const before = this.pod;
    this.pod = pod;
    // Static pods have no version.
    const { resourceVersion } = pod.metadata;
    if (resourceVersion !== undefined && before.metadata.resourceVersion === resourceVersion) return;
    for (const { container } of containersOf(pod)) {
      if (findContainer(before, container.name)?.container.image !== container.image) this.imageChanged(container.name);
    }
    const shown = (of: Pod): string => JSON.stringify([of.metadata.labels, of.metadata.annotations]);
    if (shown(before) !== shown(pod)) this.volumesStale = true;
  }

  stepFailed(key: string, reason: string, message: string, now: number, backoff: BackoffOptions): StepFailure {
    const failure = { reason, message, backoff: afterFailure(this.failures.get(key)?.backoff, now, backoff) };
    this.failures.set(key, failure);
    return failure;
  }

  stepSucceeded(key: string): void {
    this.failures.delete(key);
  }

  /** Lets what failed be tried at once: something that it waits for has appeared. */
  retryNow(which: (key: string) => boolean = () => true): void {
    for (const [key, failure] of this.failures) {
      if (!which(key)) continue;
      this.failures.set(key, { ...failure, backoff: { ...failure.backoff, failedAt: 0 } });
    }
  }

  imageReady(container: string, imageRef: string, image: Image | undefined): void {
    this.change(container, { imageRef });
    if (image !== undefined) this.images.set(container, image);
  }

  /** What was found out about the old image, and how often the container crashed with it, says nothing of the new one. */
  private imageChanged(container: string): void {
    this.images.delete(container);
    this.failures.delete(`image/${container}`);
    this.failures.delete(`start/${container}`);
    this.change(container, { imageRef: undefined, crash: undefined });
  }

  /** The image may have gone since it was looked for: it is asked for again. */
  imageUnsure(container: string): void {
    this.change(container, { imageRef: undefined });
  }

  /** A restart begins: the next one, after another exit, has to wait longer. */
  restarting(container: string, finishedAt: number, now: number, maxMs: number): void {
    const previous = this.containers.get(container)?.crash;
    // Counted from this restart to the next exit.
    const expired = previous === undefined || finishedAt - previous.failedAt > CRASH_RESET_MS;
    const delayMs = expired ? Math.min(CRASH_BASE_MS, maxMs) : Math.min(previous.delayMs * 2, maxMs);
    const crash: BackoffEntry = { failedAt: now, delayMs };
    this.change(container, { crash });
  }

  /** The image was used for a start; the next start asks for it again, as the pull policy wants. */
  starts(container: string, id: string): void {
    this.startedHere.add(id);
    this.change(container, { imageRef: undefined, starting: id });
  }

  started(container: string): void {
    this.change(container, { starting: undefined });
  }

  killBegun(id: string, now: number, graceSeconds: number, hasHook: boolean): void {
    this.kills.set(id, {
      since: now,
      deadline: now + graceSeconds * 1000,
      preStopDone: !hasHook,
      stopSentFor: undefined,
    });
  }

  killChanged(id: string, change: Partial<KillFacts>): void {
    const kill = this.kills.get(id);
    if (kill !== undefined) this.kills.set(id, { ...kill, ...change });
  }

  containerGone(id: string): void {
    this.kills.delete(id);
    this.startedHere.delete(id);
    this.memoryPeaks.delete(id);
  }

  private change(container: string, change: Partial<ContainerFacts>): void {
    this.containers.set(container, { ...(this.containers.get(container) ?? noContainerFacts), ...change });
  }
}
