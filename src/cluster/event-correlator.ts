import type { ObjectReference } from '../model/meta.ts';

/** client-go tools/record/events_cache.go, with kubelet's settings. */
export interface EventCorrelatorOptions {
  /** Similar events (same but for the message) within `aggregateMs` from which on they are written as one. Default 10. */
  readonly aggregateFrom?: number;
  /** Default 10 minutes. */
  readonly aggregateMs?: number;
  /** Events of a type that one object may have at once, and how often one more. Default 25, and one in 5 minutes. */
  readonly spamBurst?: number;
  readonly spamRefillMs?: number;
  /** Objects and events remembered; the longest unused are forgotten first. Default 1024 (4096 in client-go). */
  readonly remembered?: number;
}

export interface Observation {
  readonly about: ObjectReference;
  readonly type: string;
  readonly reason: string;
  readonly message: string;
}

/** The event to write: under `key`, with this message and counted so often since `firstAt` (milliseconds). */
export interface Correlated {
  readonly key: string;
  readonly message: string;
  readonly count: number;
  readonly firstAt: number;
}

interface Similar {
  readonly messages: Set<string>;
  lastAt: number;
}

/** Decides which events are the same, which are too many, and what is left out. Pure but for its own memory. */
export class EventCorrelator {
  private readonly options: Required<EventCorrelatorOptions>;
  private readonly similar: RecentlyUsed<Similar>;
  private readonly counted: RecentlyUsed<{ count: number; firstAt: number }>;
  private readonly budgets: RecentlyUsed<{ tokens: number; at: number }>;

  constructor(options: EventCorrelatorOptions = {}) {
    this.options = {
      aggregateFrom: options.aggregateFrom ?? 10,
      aggregateMs: options.aggregateMs ?? 600_000,
      spamBurst: options.spamBurst ?? 25,
      spamRefillMs: options.spamRefillMs ?? 300_000,
      remembered: options.remembered ?? 1024,
    };
    this.similar = new RecentlyUsed(this.options.remembered);
    this.counted = new RecentlyUsed(this.options.remembered);
    this.budgets = new RecentlyUsed(this.options.remembered);
  }

  /** undefined: the object has had too many events. It is still counted. */
  observe(event: Observation, now: number): Correlated | undefined {
    const { about } = event;
    const object = [about.kind, about.namespace, about.name, about.uid, about.apiVersion].join('\u0000');
    // Those of all containers of a pod are similar, but only those of one can be the same (client-go events_cache.go).
    const group = [object, event.type, event.reason].join('\u0000');
    const aggregated = this.aggregated(group, event.message, now);
    const key = aggregated ? group : [group, about.fieldPath, event.message].join('\u0000');
    const counted = this.counted.use(key, () => ({ count: 0, firstAt: now }));
    counted.count++;
    // Warnings in plenty leave room for what else there is to say (client-go getSpamKey).
    if (!this.allowed(`${object}\u0000${event.type}`, now)) return undefined;
    const message = aggregated ? `(combined from similar events): ${event.message}` : event.message;
    return { key, message, count: counted.count, firstAt: counted.firstAt };
  }

  private aggregated(group: string, message: string, now: number): boolean {
    const { aggregateFrom, aggregateMs } = this.options;
    const similar = this.similar.use(group, () => ({ messages: new Set(), lastAt: now }));
    if (now - similar.lastAt > aggregateMs) similar.messages.clear();
    similar.lastAt = now;
    similar.messages.add(message);
    if (similar.messages.size < aggregateFrom) return false;
    // Held just below the threshold plus one, so that the set does not grow.
    for (const oldest of similar.messages) {
      similar.messages.delete(oldest);
      break;
    }
    return true;
  }

  private allowed(object: string, now: number): boolean {
    const { spamBurst, spamRefillMs } = this.options;
    const budget = this.budgets.use(object, () => ({ tokens: spamBurst, at: now }));
    budget.tokens = Math.min(spamBurst, budget.tokens + (now - budget.at) / spamRefillMs);
    budget.at = now;
    if (budget.tokens < 1) return false;
    budget.tokens -= 1;
    return true;
  }
}

/** A map that forgets what was not used for longest. */
class RecentlyUsed<V> {
  private readonly entries = new Map<string, V>();
  private readonly limit: number;

  constructor(limit: number) {
    this.limit = limit;
  }

  use(key: string, make: () => V): V {
    const known = this.entries.get(key);
    const value = known ?? make();
    if (known !== undefined) this.entries.delete(key);
    this.entries.set(key, value);
    if (this.entries.size > this.limit) {
      for (const oldest of this.entries.keys()) {
        this.entries.delete(oldest);
        break;
      }
    }
    return value;
  }
}
