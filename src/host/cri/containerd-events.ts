import type { Clock } from '../../kit/clock.ts';
import { hasCode } from '../../kit/errors.ts';
import { msFromNanos } from './convert-response.ts';
import type { Envelope, Timestamp } from './generated/responses.js';
import { payloads } from './generated/services.js';
import type { CriRuntime, RuntimeEvent } from './port.ts';

/** The namespace that containerd's CRI plugin keeps its containers in. */
const CRI_NAMESPACE = 'k8s.io';

/** In containerd's filter language (its package filters): a comma is "and", entries are "or", slashes need quotes. */
export const CONTAINERD_EVENT_FILTERS: readonly string[] = [
  '/tasks/start',
  '/tasks/exit',
  '/tasks/oom',
  '/containers/create',
  '/containers/delete',
].map((topic) => `namespace==${CRI_NAMESPACE},topic=="${topic}"`);

// The CRI plugin needs 35 to 50 ms on an idle node to note an exit; together these are 4 s, enough for a busy one.
const LOOK_AGAIN_MS: readonly number[] = [20, 10, 5, 5, 5, 5, 5, 10, 15, 30, 60, 120, 250, 500, 1000, 2000];

// From the OOM notice until the CRI plugin has noted the reason, after it knows of the end.
const REASON_MS: readonly number[] = [5, 10, 20, 40, 80, 150, 300];

/**
 * Turns containerd's own events into RuntimeEvents. containerd tells of an exit before its CRI plugin knows: the plugin
 * first deletes the task. So `exited` is passed on at once, and `stopped` only when the CRI answers accordingly.
 */
export class ContainerdEvents {
  private readonly cri: Pick<CriRuntime, 'containerStatus' | 'podSandboxStatus'>;
  private readonly clock: Clock;
  private readonly signal: AbortSignal;
  private readonly emit: (event: RuntimeEvent) => void;
  /** Ids whose stop is being looked at, so that an exit and its OOM notice share one look. */
  private readonly looking = new Set<string>();
  /** Containers in which the kernel has killed for want of memory: their end will have the reason OOMKilled. */
  private readonly oom = new Set<string>();

  constructor(
    deps: { readonly cri: Pick<CriRuntime, 'containerStatus' | 'podSandboxStatus'>; readonly clock: Clock },
    emit: (event: RuntimeEvent) => void,
    signal: AbortSignal,
  ) {
    this.cri = deps.cri;
    this.clock = deps.clock;
    this.emit = emit;
    this.signal = signal;
  }

  /** Throws what the decoder throws when an event's payload is not what its topic promises. */
  receive(envelope: Envelope): void {
    if (envelope.namespace !== CRI_NAMESPACE || envelope.event === null) return;
    const { value } = envelope.event;
    const atMs = msOf(envelope.timestamp);
    switch (envelope.topic) {
      case '/tasks/start':
        this.pass('started', payloads['containerd.events.TaskStart'](value).containerId, atMs);
        break;
      case '/tasks/exit': {
        const exit = payloads['containerd.events.TaskExit'](value);
        // Every exec that ends, an exec probe's for one, is an exit too.
        if (exit.id !== exit.containerId) break;
        const exitedAt = msOf(exit.exitedAt) || atMs;
        this.pass('exited', exit.containerId, exitedAt, exit.exitStatus);
        void this.passWhenStopped(exit.containerId, exitedAt, LOOK_AGAIN_MS);
        break;
      }
      case '/tasks/oom': {
        // Comes before or after the exit: the CRI plugin, too, may hear of it when it has noted the end already.
        const { containerId } = payloads['containerd.events.TaskOOM'](value);
        this.oom.add(containerId);
        if (!this.looking.has(containerId)) void this.passWhenStopped(containerId, atMs, []);
        break;
      }
      case '/containers/create':
        this.pass('created', payloads['containerd.events.ContainerCreate'](value).id, atMs);
        break;
      case '/containers/delete': {
        const { id } = payloads['containerd.events.ContainerDelete'](value);
        this.oom.delete(id);
        this.pass('deleted', id, atMs);
        break;
      }
    }
  }

  private pass(type: RuntimeEvent['type'], id: string, atMs: number, exitCode?: number): void {
    if (id === '' || this.signal.aborted) return;
    this.emit({ type, id, atMs, ...(exitCode === undefined ? {} : { exitCode }) });
  }

  private async passWhenStopped(id: string, atMs: number, lookAgainMs: readonly number[]): Promise<void> {
    this.looking.add(id);
    try {
      for (const delayMs of lookAgainMs) {
        await this.clock.sleep(delayMs, this.signal);
        if (await this.hasStopped(id)) break;
      }
      // An OOM kill that the container survived (a child died) is no stop.
      if (lookAgainMs.length === 0 && !(await this.hasStopped(id))) return;
      if (this.oom.delete(id)) await this.untilReasonIsNoted(id);
    } catch {
      // Aborted, or the runtime is away: what is passed on then is only a hint to look, and onGap follows anyway.
    } finally {
      this.looking.delete(id);
    }
    this.pass('stopped', id, atMs);
  }

  private async untilReasonIsNoted(id: string): Promise<void> {
    for (const delayMs of REASON_MS) {
      if ((await this.cri.containerStatus(id)).reason === 'OOMKilled') return;
      await this.clock.sleep(delayMs, this.signal);
    }
  }

  private async hasStopped(id: string): Promise<boolean> {
    try {
      return (await this.cri.containerStatus(id)).state !== 'RUNNING';
    } catch (error) {
      if (!hasCode(error, 'NotFound')) throw error;
    }
    try {
      return (await this.cri.podSandboxStatus(id)).state === 'NOTREADY';
    } catch (error) {
      if (!hasCode(error, 'NotFound')) throw error;
      return true;
    }
  }
}

function msOf(timestamp: Timestamp | null): number {
  if (timestamp === null) return 0;
  return Number(timestamp.seconds) * 1000 + msFromNanos(timestamp.nanos);
}
