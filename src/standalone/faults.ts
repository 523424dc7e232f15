import type { ServerResponse } from 'node:http';
import type { Clock } from '../kit/clock.ts';
import type { ResourceType } from '../model/resource.ts';
import type { Verb } from './http/request-info.ts';
import { StatusError } from './http/status-error.ts';
import type { WatchFaults, WatchHub } from './http/watch-hub.ts';

/** Which requests a fault is for; what is left out matches everything. */
export interface FaultMatch {
  readonly verb?: Verb | readonly Verb[];
  /** Plural, such as pods. */
  readonly resource?: string;
  readonly subresource?: string;
  readonly namespace?: string;
  readonly name?: string;
}

export type Fault =
  /** Answers with a Status instead of doing anything. */
  | {
      readonly kind: 'error';
      readonly code: number;
      readonly reason: string;
      readonly message?: string;
      readonly retryAfterSeconds?: number;
    }
  /** Does it, later. */
  | { readonly kind: 'latency'; readonly ms: number }
  /** Never answers; the connection stays. */
  | { readonly kind: 'hang' }
  /** Closes the connection without an answer. */
  | { readonly kind: 'reset' }
  /** Does it, then closes the connection without an answer: the caller cannot know. */
  | { readonly kind: 'loseAnswer' }
  /**
   * Meets the next change that a matching watch would be told: `drop` its connection, `tear` the line in the middle,
   * `gone` answer 410, `withhold` the change in silence.
   */
  | { readonly kind: 'watch'; readonly how: 'drop' | 'tear' | 'gone' | 'withhold' };

export interface FaultRule {
  readonly match?: FaultMatch;
  readonly fault: Fault;
  /** Ends after so many hits. Default: never. */
  readonly times?: number;
  /** 0..1: the share of matching requests that it hits. Default 1. */
  readonly rate?: number;
}

export interface ActiveFault {
  /** Requests or changes that it has met. */
  readonly hits: number;
  remove(): void;
}

export interface FaultedRequest {
  readonly verb: Verb;
  readonly resource: string;
  readonly subresource: string | undefined;
  readonly namespace: string | undefined;
  readonly name: string | undefined;
}

class Rule implements ActiveFault {
  hits = 0;
  readonly rule: FaultRule;
  private readonly rules: Set<Rule>;

  constructor(rule: FaultRule, rules: Set<Rule>) {
    this.rule = rule;
    this.rules = rules;
  }

  remove(): void {
    this.rules.delete(this);
  }

  hit(): void {
    this.hits++;
    if (this.hits >= (this.rule.times ?? Number.POSITIVE_INFINITY)) this.remove();
  }
}

/**
 * Makes the API fail on purpose: the test suite gives one to an EmbeddedApi and tells it what goes wrong when. Without
 * rules it does nothing.
 */
export class Faults implements WatchFaults {
  private readonly rules = new Set<Rule>();
  private readonly random: () => number;
  private hub: WatchHub | undefined;
  private expireHistory: (() => void) | undefined;

  constructor(random: () => number = Math.random) {
    this.random = random;
  }

  add(rule: FaultRule): ActiveFault {
    const active = new Rule(rule, this.rules);
    this.rules.add(active);
    return active;
  }

  /** The next `times` matching requests get this error. */
  failNext(times: number, match: FaultMatch, code = 500, reason = 'InternalError'): ActiveFault {
    return this.add({ match, fault: { kind: 'error', code, reason }, times });
  }

  clear(): void {
    this.rules.clear();
  }

  /** Ends open watches now; says how many. */
  endWatches(how: 'close' | 'drop' | 'tear' | 'gone', match: Pick<FaultMatch, 'resource' | 'namespace'> = {}): number {
    return (
      this.hub?.end(
        how,
        ({ type, namespace }) =>
          (match.resource === undefined || match.resource === type.plural) &&
          (match.namespace === undefined || match.namespace === namespace),
      ) ?? 0
    );
  }

  /** Every version that was handed out so far becomes too old to resume a watch or continue a list from. */
  compactHistory(): void {
    this.expireHistory?.();
  }

  /** For EmbeddedApi. */
  attach(hub: WatchHub, expireHistory: () => void): void {
    this.hub = hub;
    this.expireHistory = expireHistory;
  }

  /** Applied before a request is carried out. False: it is not to be answered. Throws the error to answer with. */
  async beforeRequest(request: FaultedRequest, response: ServerResponse, clock: Clock): Promise<boolean> {
    for (const active of this.hitting(request)) {
      const { fault } = active.rule;
      switch (fault.kind) {
        case 'latency':
          await clock.sleep(fault.ms);
          break;
        case 'hang':
          await new Promise<void>((resolve) => response.on('close', resolve));
          return false;
        case 'reset':
          response.destroy();
          return false;
        case 'loseAnswer':
          response.writeHead = () => {
            response.destroy();
            return response;
          };
          break;
        case 'error':
          throw injectedError(fault);
        case 'watch':
          break;
      }
    }
    return true;
  }

  onEvent({
    type,
    namespace,
  }: {
    readonly type: ResourceType;
    readonly namespace: string | undefined;
  }): 'deliver' | 'drop' | 'tear' | 'gone' | 'withhold' {
    for (const active of this.rules) {
      const { fault, match, rate = 1 } = active.rule;
      if (fault.kind !== 'watch') continue;
      if (!fits(match, { verb: 'watch', resource: type.plural, namespace, subresource: undefined, name: undefined }))
        continue;
      if (rate < 1 && this.random() >= rate) continue;
      active.hit();
      return fault.how;
    }
    return 'deliver';
  }

  private *hitting(request: FaultedRequest): Generator<Rule> {
    for (const active of [...this.rules]) {
      const { fault, match, rate = 1 } = active.rule;
      if (fault.kind === 'watch' || !fits(match, request)) continue;
      if (rate < 1 && this.random() >= rate) continue;
      active.hit();
      yield active;
    }
  }
}

function fits(match: FaultMatch | undefined, request: FaultedRequest): boolean {
  if (match === undefined) return true;
  const { verb, resource, subresource, namespace, name } = match;
  if (verb !== undefined && !(typeof verb === 'string' ? verb === request.verb : verb.includes(request.verb)))
    return false;
  return (
    (resource === undefined || resource === request.resource) &&
    (subresource === undefined || subresource === (request.subresource ?? '')) &&
    (namespace === undefined || namespace === request.namespace) &&
    (name === undefined || name === request.name)
  );
}

function injectedError(fault: Extract<Fault, { kind: 'error' }>): StatusError {
  const { code, reason, message = `injected ${reason}`, retryAfterSeconds } = fault;
  const details = retryAfterSeconds === undefined ? {} : { retryAfterSeconds };
  return new StatusError('Internal', code, reason, message, details);
}
