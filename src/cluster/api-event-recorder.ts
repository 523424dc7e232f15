import { RetryDelays } from '../kit/backoff.ts';
import type { Clock } from '../kit/clock.ts';
import { hasCode, messageOf } from '../kit/errors.ts';
import type { Logger } from '../kit/log.ts';
import type { Metrics } from '../kit/metrics.ts';
import { TokenBucket } from '../kit/token-bucket.ts';
import type { ObjectReference } from '../model/meta.ts';
import type { Event } from '../model/objects.ts';
import { resources } from '../model/resource.ts';
import { rfc3339 } from '../model/time.ts';
import { EventCorrelator, type EventCorrelatorOptions } from './event-correlator.ts';
import type { ApiClient, EventRecorder } from './port.ts';

export interface EventRecorderOptions extends EventCorrelatorOptions {
  readonly nodeName: string;
  /** source.component, and reportingComponent. kubelet's name, which tools look for. Default "kubelet". */
  readonly component?: string;
  /** eventRecordQPS and eventBurst. Default 50 and 100. */
  readonly qps?: number;
  readonly burst?: number;
  /** Events that wait to be written; more are dropped and counted. Default 1000. */
  readonly queueLimit?: number;
}

export interface EventRecorderDeps {
  readonly api: ApiClient;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics?: Metrics | undefined;
  readonly random?: () => number;
}

interface Waiting {
  readonly key: string;
  readonly about: ObjectReference;
  readonly type: string;
  readonly reason: string;
  message: string;
  count: number;
  readonly firstAt: number;
  lastAt: number;
  readonly annotations: Readonly<Record<string, string>>;
}

/** client-go writes an event at most this often before it gives it up. */
const MOST_TRIES = 12;
/** Names of Event objects in the API, remembered so that a repeated event becomes a patch of its count. */
const MOST_NAMES = 1024;
const MESSAGE_LIMIT = 1024;
/** metadata.name is a DNS subdomain of at most 253 characters; a dot and 16 hexadecimal digits follow the object's name. */
const NAME_LIMIT = 253 - 17;

/**
 * Events as kubelet writes them: the same event again counts up, many similar ones become one, an object that spams is
 * cut short. Recording only queues; one loop writes. Events that cannot be written are given up, never waited for.
 */
export class ApiEventRecorder implements EventRecorder {
  private readonly options: EventRecorderOptions;
  private readonly deps: EventRecorderDeps;
  private readonly correlator: EventCorrelator;
  private readonly bucket: TokenBucket;
  private readonly waiting = new Map<string, Waiting>();
  private readonly names = new Map<string, { readonly namespace: string; readonly name: string }>();
  private readonly stop = new AbortController();
  private readonly dropped: (why: string) => void;
  private writing: Promise<void> | undefined;
  private sequence = 0;

  constructor(options: EventRecorderOptions, deps: EventRecorderDeps) {
    this.options = options;
    this.deps = deps;
    this.correlator = new EventCorrelator(options);
    this.bucket = new TokenBucket({ perSecond: options.qps ?? 50, burst: options.burst ?? 100 }, deps.clock);
    const counter = deps.metrics?.counter('deckhand_events_dropped_total', 'Events that were not written, by why.', [
      'why',
    ]);
    this.dropped = (why) => counter?.inc({ why });
  }

  event(
    about: ObjectReference,
    type: 'Normal' | 'Warning',
    reason: string,
    message: string,
    annotations: Readonly<Record<string, string>> = {},
  ): void {
    if (this.stop.signal.aborted) return;
    const now = this.deps.clock.now();
    const short = message.length > MESSAGE_LIMIT ? `${message.slice(0, MESSAGE_LIMIT - 1)}…` : message;
    const event = this.correlator.observe({ about, type, reason, message: short }, now);
    if (event === undefined) {
      this.dropped('spam');
      return;
    }
    const same = this.waiting.get(event.key);
    if (same !== undefined) {
      same.count = event.count;
      same.message = event.message;
      same.lastAt = now;
    } else if (this.waiting.size >= (this.options.queueLimit ?? 1000)) {
      this.dropped('queue');
      return;
    } else {
      const { key, count, firstAt } = event;
      this.waiting.set(key, {
        key,
        about,
        type,
        reason,
        message: event.message,
        annotations,
        count,
        firstAt,
        lastAt: now,
      });
    }
    this.keepWriting();
  }

  /** Waits up to `flushMs` for what is queued, then stops. */
  async close(flushMs = 0): Promise<void> {
    const timer = this.deps.clock.after(flushMs, () => this.stop.abort());
    while (this.writing !== undefined && flushMs > 0 && !this.stop.signal.aborted) await this.writing;
    timer.cancel();
    this.stop.abort();
    await this.writing;
  }

  private keepWriting(): void {
    this.writing ??= this.drain().finally(() => {
      this.writing = undefined;
      if (this.waiting.size > 0 && !this.stop.signal.aborted) this.keepWriting();
    });
  }

  private async drain(): Promise<void> {
    // Events of the same moment are joined first.
    await Promise.resolve();
    for (const [key, event] of this.waiting) {
      if (this.stop.signal.aborted) return;
      this.waiting.delete(key);
      await this.write(event);
    }
  }

  private async write(event: Waiting): Promise<void> {
    const delays = new RetryDelays({
      baseMs: 500,
      maxMs: 10_000,
      jitter: 0.5,
      ...(this.deps.random === undefined ? {} : { random: this.deps.random }),
    });
    for (let attempt = 1; ; attempt++) {
      try {
        await this.bucket.take(this.stop.signal);
        await this.send(event);
        return;
      } catch (error) {
        if (this.stop.signal.aborted) return;
        const passing = hasCode(error, 'Unavailable', 'DeadlineExceeded', 'TooManyRequests', 'Unauthorized');
        if (!passing || attempt >= MOST_TRIES) {
          this.dropped(passing ? 'unavailable' : 'refused');
          this.deps.logger.debug({ reason: event.reason, error: messageOf(error) }, 'gave up an event');
          return;
        }
        try {
          await this.deps.clock.sleep(delays.next(), this.stop.signal);
        } catch {
          return;
        }
      }
    }
  }

  private async send(event: Waiting): Promise<void> {
    const known = this.names.get(event.key);
    const { api } = this.deps;
    if (known !== undefined && event.count > 1) {
      const patch = { message: event.message, count: event.count, lastTimestamp: rfc3339(event.lastAt) };
      try {
        await api.patch(resources.events, known, patch, 'strategic', this.stop.signal);
        return;
      } catch (error) {
        // Events live an hour in the API: an older one is made anew.
        if (!hasCode(error, 'NotFound')) throw error;
      }
    }
    const object = this.objectOf(event);
    await api.create<Event>(resources.events, { namespace: object.metadata.namespace }, object, this.stop.signal);
    this.remember(event.key, object.metadata);
  }

  private objectOf(event: Waiting): Event & { metadata: { namespace: string; name: string } } {
    const { about } = event;
    const { nodeName, component = 'kubelet' } = this.options;
    const namespace = about.namespace === undefined || about.namespace === '' ? 'default' : about.namespace;
    // Nanoseconds in client-go; here milliseconds and a sequence, which is as unique.
    const stamp = BigInt(event.lastAt) * 1_000_000n + BigInt(this.sequence++ % 1_000_000);
    return {
      apiVersion: 'v1',
      kind: 'Event',
      metadata: {
        namespace,
        name: `${(about.name ?? 'unknown').slice(0, NAME_LIMIT)}.${stamp.toString(16)}`,
        ...(Object.keys(event.annotations).length === 0 ? {} : { annotations: event.annotations }),
      },
      involvedObject: about,
      reason: event.reason,
      message: event.message,
      type: event.type,
      source: { component, host: nodeName },
      reportingComponent: component,
      reportingInstance: nodeName,
      firstTimestamp: rfc3339(event.firstAt),
      lastTimestamp: rfc3339(event.lastAt),
      eventTime: null,
      count: event.count,
    };
  }

  private remember(key: string, { namespace, name }: { namespace: string; name: string }): void {
    this.names.delete(key);
    this.names.set(key, { namespace, name });
    if (this.names.size <= MOST_NAMES) return;
    for (const oldest of this.names.keys()) {
      this.names.delete(oldest);
      break;
    }
  }
}
