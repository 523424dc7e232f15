import type { Clock, Timer } from '../../kit/clock.ts';
import { hasCode, messageOf } from '../../kit/errors.ts';
import type { Logger } from '../../kit/log.ts';
import type { Event } from '../../model/objects.ts';
import { resources } from '../../model/resource.ts';
import { parseTime } from '../../model/time.ts';
import type { Store } from '../port.ts';
import type { Controller } from './port.ts';

export interface EventExpiryOptions {
  /** Default one hour, as kube-apiserver's --event-ttl. */
  readonly ttlMs?: number;
  readonly sweepMs?: number;
}

export interface EventExpiryDeps {
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Removes events an hour after their last occurrence; looks once a minute. */
export class EventExpiry implements Controller {
  private readonly ttlMs: number;
  private readonly sweepMs: number;
  private readonly deps: EventExpiryDeps;
  private timer: Timer | undefined;
  private sweeping: Promise<void> = Promise.resolve();
  private closed = false;

  constructor({ ttlMs = 3_600_000, sweepMs = 60_000 }: EventExpiryOptions, deps: EventExpiryDeps) {
    this.ttlMs = ttlMs;
    this.sweepMs = sweepMs;
    this.deps = deps;
  }

  start(): void {
    this.sweeping = this.sweep();
  }

  async close(): Promise<void> {
    this.closed = true;
    this.timer?.cancel();
    await this.sweeping;
  }

  private async sweep(): Promise<void> {
    const { store, clock, log } = this.deps;
    const oldest = clock.now() - this.ttlMs;
    for (const event of store.list(resources.events) as Event[]) {
      if (this.closed) return;
      if (lastSeen(event) >= oldest) continue;
      try {
        await store.remove(resources.events, event.metadata.namespace, event.metadata.name ?? '');
      } catch (error) {
        if (hasCode(error, 'NotFound')) continue;
        log.warn({ error: messageOf(error) }, 'an old event could not be removed');
        break;
      }
    }
    if (this.closed) return;
    this.timer = clock.after(this.sweepMs, () => {
      this.sweeping = this.sweep();
    });
  }
}

function lastSeen(event: Event): number {
  const times = [
    event.lastTimestamp,
    event.series?.lastObservedTime,
    event.eventTime,
    event.metadata.creationTimestamp,
  ];
  return Math.max(...times.map((text) => parseTime(text) ?? 0));
}
