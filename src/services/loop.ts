import type { EventRecorder, View } from '../cluster/port.ts';
import type { ConntrackPort } from '../host/conntrack/port.ts';
import type { NetPort } from '../host/net/port.ts';
import type { Writer } from '../host/rule-watch/port.ts';
import type { BackoffOptions } from '../kit/backoff.ts';
import type { Clock } from '../kit/clock.ts';
import { messageOf, tryAll } from '../kit/errors.ts';
import { KeyedQueue } from '../kit/keyed-queue.ts';
import type { Logger } from '../kit/log.ts';
import { formatCidr, parseCidr } from '../model/cidr.ts';
import type { ObjectReference } from '../model/meta.ts';
import type { EndpointSlice, IPFamily, Service } from '../model/service.ts';
import { FlowCleaner } from './act/flow-cleaner.ts';
import { Turns } from './act/in-turns.ts';
import { Lookout } from './lookout.ts';
import type { Problem, ServicePortRules } from './model.ts';
import { type ServiceEvent, ServiceObserver } from './observe/service-observer.ts';
import { nodeAddresses, nodePortScope } from './policy/node-port-scope.ts';
import type { ServiceInput } from './policy/service-rules.ts';
import type {
  BaseRules,
  HealthChecks,
  LocalEndpoints,
  ProxyBackend,
  ProxyFacts,
  RuleChange,
  SyncReport,
} from './port.ts';
import type { ProxyMetrics } from './proxy-metrics.ts';
import { RecentAddresses } from './recent-addresses.ts';

export interface ServiceLoopOptions {
  readonly facts: ProxyFacts;
  /** Syncs of a family start at least this far apart; the first change after a quiet time goes at once. Default 50. */
  readonly minSyncMs?: number;
  /**
   * How often to look whether somebody flushed or edited our rules, where nothing tells of it; less often where looking
   * is dear, so that it never takes more than a twentieth of the time. Default: what the backend says.
   */
  readonly checkMs?: number;
  /** How often to read all rules back and compare them. Default 1 h. */
  readonly fullSyncMs?: number;
  /** Delays after a failed sync. Default 1 s doubling to 30 s. */
  readonly retry?: BackoffOptions;
  /** From applyKernelSettings. */
  readonly tcpBeLiberal?: boolean;
}

export interface ServiceLoopDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: ProxyMetrics;
  readonly services: View<Service>;
  readonly slices: View<EndpointSlice>;
  readonly localEndpoints?: LocalEndpoints;
  /** One per address family that this node has. */
  readonly backends: readonly ProxyBackend[];
  readonly net: Pick<NetPort, 'localAddresses'>;
  /** Told of Services that the kernel refuses. */
  readonly events?: EventRecorder;
  readonly healthChecks?: HealthChecks;
  /** Without it, stale UDP flows stay until they time out. */
  readonly conntrack?: ConntrackPort;
}

/** Times are milliseconds since the epoch. */
export interface FamilyStatus {
  readonly family: IPFamily;
  readonly backend: string;
  readonly lastSyncedAt: number | undefined;
  /** Since when a change waits; undefined: the rules are in order. */
  readonly pendingSince: number | undefined;
  readonly lastError: string | undefined;
  readonly setAside: readonly { readonly service: string; readonly reason: string }[];
}

export interface ServiceLoopStatus {
  /** Every family's rules have been in order once. */
  readonly synced: boolean;
  readonly families: readonly FamilyStatus[];
}

interface Dirt {
  service: boolean;
  endpoints: boolean;
  triggeredAt: number | undefined;
}

const defaultFullSyncMs = 3_600_000;

/** One address family's part of the loop. */
interface Lane {
  readonly family: IPFamily;
  readonly backend: ProxyBackend;
  readonly cleaner: FlowCleaner | undefined;
  dirty: Map<string, Dirt>;
  pendingServices: number;
  pendingEndpoints: number;
  readonly problems: Map<string, readonly Problem[]>;
  /** Service ports under policy Local without an endpoint here: service → [internal, external]. */
  readonly lacking: Map<string, readonly [internal: number, external: number]>;
  wantsFull: boolean;
  /** Monotonic milliseconds. */
  lastFullAt: number;
  readonly checkMs: number;
  readonly lookout: Lookout;
  /** What the kernel's rules were last made for. */
  baseText: string;
  lastSyncedAt: number | undefined;
  /** Since when a change waits for the sync that comes, and for the one under way. */
  pendingSince: number | undefined;
  syncingSince: number | undefined;
  lastError: string | undefined;
  setAside: SyncReport['setAside'];
}

/**
 * Keeps the kernel's Service rules as Services, EndpointSlices and this node's own pods want them. Families do not
 * wait for each other; a failed sync is retried whole, from what the kernel says it holds. Ending it leaves the rules
 * in place, so that traffic goes on while deckhand is away.
 */
export class ServiceLoop {
  private readonly options: ServiceLoopOptions;
  private readonly deps: ServiceLoopDeps;
  private readonly log: Logger;
  private readonly addresses: RecentAddresses;
  private readonly lanes: readonly Lane[];
  private readonly observer: ServiceObserver;
  private readonly queue: KeyedQueue;
  private readonly stop = new AbortController();
  private readonly waiting = new Set<() => void>();
  private readonly unwatch: (() => void)[] = [];
  private facts: ProxyFacts;
  private running = false;

  constructor(options: ServiceLoopOptions, deps: ServiceLoopDeps) {
    this.options = options;
    this.deps = deps;
    this.log = deps.log;
    this.addresses = new RecentAddresses(deps);
    this.facts = options.facts;
    this.lanes = deps.backends.map((backend) => ({
      family: backend.family,
      backend,
      cleaner:
        deps.conntrack === undefined
          ? undefined
          : new FlowCleaner(backend.family, deps.conntrack, { resetTcp: options.facts.resetTcp ?? false }),
      dirty: new Map(),
      pendingServices: 0,
      pendingEndpoints: 0,
      problems: new Map(),
      lacking: new Map(),
      checkMs: options.checkMs ?? backend.checkMs,
      lookout: new Lookout(
        { checkMs: options.checkMs ?? backend.checkMs },
        { clock: deps.clock, alarm: backend.alarm },
      ),
      baseText: '',
      wantsFull: true,
      lastFullAt: deps.clock.monotonic(),
      lastSyncedAt: undefined,
      pendingSince: undefined,
      syncingSince: undefined,
      lastError: undefined,
      setAside: [],
    }));
    this.observer = new ServiceObserver(options.facts, deps, (event) => this.onEvent(event));
    this.queue = new KeyedQueue(deps.clock, (key) => this.run(key), {
      minIntervalMs: options.minSyncMs ?? 50,
      // Without changes a run looks at the kernel and at the node's addresses.
      maxIntervalMs: Math.min(...this.lanes.map(({ checkMs }) => checkMs)),
      retry: options.retry ?? { baseMs: 1_000, maxMs: 30_000 },
      onError: (family, error) => {
        this.log.error({ family, error: messageOf(error) }, 'could not bring the Service rules in order, will retry');
      },
    });
  }

  /** Resolves when syncing has begun, that is when both views are complete. Rejects when `close` comes first. */
  async start(): Promise<void> {
    const { signal } = this.stop;
    await Promise.all([this.deps.services.whenSynced(signal), this.deps.slices.whenSynced(signal)]);
    signal.throwIfAborted();
    this.running = true;
    for (const lane of this.lanes) {
      this.request(lane);
      this.unwatch.push(lane.lookout.watch((inMs) => this.queue.request(lane.family, inMs)));
    }
  }

  /** Other facts of the node (its zone, its addresses): all rules are worked out anew. */
  setFacts(facts: ProxyFacts): void {
    if (JSON.stringify(facts) === JSON.stringify(this.facts)) return;
    this.facts = facts;
    this.observer.setFacts(facts);
    for (const lane of this.lanes) {
      lane.wantsFull = true;
      this.request(lane);
    }
  }

  status(): ServiceLoopStatus {
    return {
      synced: this.lanes.every((lane) => lane.lastSyncedAt !== undefined),
      families: this.lanes.map((lane) => ({
        family: lane.family,
        backend: lane.backend.name,
        lastSyncedAt: lane.lastSyncedAt,
        pendingSince: lane.syncingSince ?? lane.pendingSince,
        lastError: lane.lastError,
        setAside: lane.setAside,
      })),
    };
  }

  /**
   * Resolves when the kernel holds everything that has been seen until now, in each family; at once when nothing waits.
   * Rejects with the signal's reason, for a kernel that refuses everything would never let it resolve.
   */
  async settled(signal?: AbortSignal): Promise<void> {
    while (this.running && this.lanes.some((lane) => (lane.syncingSince ?? lane.pendingSince) !== undefined)) {
      signal?.throwIfAborted();
      await new Promise<void>((resolve, reject) => {
        const done = (): void => {
          this.waiting.delete(done);
          signal?.removeEventListener('abort', aborted);
          resolve();
        };
        const aborted = (): void => {
          this.waiting.delete(done);
          reject(signal?.reason);
        };
        this.waiting.add(done);
        signal?.addEventListener('abort', aborted, { once: true });
      });
    }
  }

  /** Everything that a backend of this family would have to hold now; each Service is worked out when it is asked for. */
  wanted(family: IPFamily): RuleChange {
    const { observer } = this;
    const services = {
      *[Symbol.iterator]() {
        for (const key of observer.keys()) yield [key, observer.rules(key, family).rules] as const;
      },
    };
    return { base: this.baseOf(family), services, complete: true };
  }

  /** What one Service's rules are made of; undefined when there is none of that name. */
  inputOf(service: string, family: IPFamily): ServiceInput | undefined {
    return this.observer.input(service, family);
  }

  /** Ends syncing; waits for a transaction under way. The rules stay. */
  async close(): Promise<void> {
    this.running = false;
    this.stop.abort(new Error('the Service loop is closed'));
    this.observer.close();
    for (const unwatch of this.unwatch.splice(0)) unwatch();
    this.tellWaiting();
    await this.queue.close();
  }

  /** Closes, and then removes all rules. */
  async cleanup(): Promise<void> {
    await this.close();
    await tryAll(
      'remove Service rules',
      this.lanes.map((lane) => () => lane.backend.cleanup()),
    );
  }

  private onEvent(event: ServiceEvent): void {
    if (!this.running) return;
    for (const lane of this.lanes) {
      const dirt = lane.dirty.get(event.service) ?? { service: false, endpoints: false, triggeredAt: undefined };
      if (event.cause === 'service') {
        if (!dirt.service) lane.pendingServices++;
        dirt.service = true;
      } else {
        if (!dirt.endpoints) lane.pendingEndpoints++;
        dirt.endpoints = true;
      }
      dirt.triggeredAt ??= event.triggeredAt;
      lane.dirty.set(event.service, dirt);
      const { metrics } = this.deps;
      const label = { ip_family: lane.family };
      (event.cause === 'service' ? metrics.serviceChanges : metrics.endpointChanges).inc(label);
      this.showPending(lane);
      this.request(lane);
    }
  }

  private request(lane: Lane): void {
    if (!this.running) return;
    lane.pendingSince ??= this.deps.clock.now();
    this.deps.metrics.lastQueued.set({ ip_family: lane.family }, this.deps.clock.now() / 1000);
    this.queue.request(lane.family);
  }

  private async run(family: string): Promise<undefined> {
    const lane = this.lanes.find((one) => one.family === family);
    if (lane === undefined || !this.running) return undefined;
    try {
      if (this.deps.clock.monotonic() - lane.lastFullAt >= (this.options.fullSyncMs ?? defaultFullSyncMs)) {
        lane.backend.forget();
      }
      await this.syncOrAll(lane);
      const flushed = await this.isFlushed(lane);
      if (flushed !== undefined) {
        this.log.warn({ family, ...flushed }, 'somebody removed our Service rules, writing them again');
        this.deps.metrics.repairs.inc({ ip_family: lane.family });
        await this.syncOrAll(lane);
      }
    } catch (error) {
      lane.lastError = messageOf(error);
      lane.pendingSince ??= this.deps.clock.now();
      throw error;
    }
    return undefined;
  }

  /** After a sync of some Services that failed, one of all: what was believed of the kernel may have been the trouble. */
  private async syncOrAll(lane: Lane): Promise<void> {
    const wasPartial = !(lane.wantsFull || lane.backend.needsComplete);
    try {
      await this.sync(lane);
    } catch (error) {
      this.countFailure(lane, wasPartial);
      if (!wasPartial || !this.running) throw error;
      const { family } = lane;
      this.log.warn({ family, error: messageOf(error) }, 'a sync of some Services failed, trying a full one');
      await this.sync(lane).catch((again: unknown) => {
        this.countFailure(lane, false);
        throw again;
      });
    }
  }

  /** Whether somebody has, and who, where that is known. */
  private async isFlushed({ backend, lookout }: Lane): Promise<{ readonly by?: Writer } | undefined> {
    if (!lookout.isDue) return undefined;
    const { intact, by } = await lookout.look(async () => {
      const isIntact = await backend.intact();
      if (isIntact) await backend.tend?.();
      return isIntact;
    });
    if (intact) return undefined;
    return by === undefined ? {} : { by };
  }

  private async sync(lane: Lane): Promise<void> {
    const { clock, metrics } = this.deps;
    const label = { ip_family: lane.family };
    const base = this.baseOf(lane.family);
    const baseText = JSON.stringify(base);
    const complete = lane.wantsFull || lane.backend.needsComplete || baseText !== lane.baseText;
    if (!complete && lane.pendingSince === undefined) return;
    const started = clock.monotonic();
    // Before the turns that collecting takes: who asks meanwhile is not forgotten.
    lane.wantsFull = false;
    const keys = complete ? await collectInTurns(this.observer.keys()) : new Set<string>();
    const { dirty } = lane;
    for (const key of dirty.keys()) keys.add(key);
    lane.dirty = new Map();
    lane.pendingServices = 0;
    lane.pendingEndpoints = 0;
    lane.syncingSince = lane.pendingSince;
    lane.pendingSince = undefined;
    let report: SyncReport;
    try {
      report = await lane.backend.sync(this.changeOf(lane, base, keys, complete));
    } catch (error) {
      lane.wantsFull = true;
      lane.pendingSince = lane.syncingSince ?? lane.pendingSince;
      lane.syncingSince = undefined;
      for (const [key, dirt] of dirty) {
        if (lane.dirty.has(key)) continue;
        lane.dirty.set(key, dirt);
        if (dirt.service) lane.pendingServices++;
        if (dirt.endpoints) lane.pendingEndpoints++;
      }
      throw error;
    }
    lane.syncingSince = undefined;
    const seconds = (clock.monotonic() - started) / 1000;
    metrics.syncDuration.observe(label, seconds);
    (complete ? metrics.fullSyncDuration : metrics.partialSyncDuration).observe(label, seconds);
    for (const { triggeredAt } of dirty.values()) {
      if (triggeredAt !== undefined) metrics.programmingDuration.observe(label, (clock.now() - triggeredAt) / 1000);
    }
    if (complete) lane.lastFullAt = started;
    lane.lastSyncedAt = clock.now();
    lane.lastError = undefined;
    lane.baseText = baseText;
    this.tellSetAside(lane, report.setAside);
    lane.setAside = report.setAside;
    this.tellWaiting();
    this.showReport(lane, report);
    this.showPending(lane);
    if (report.operations > 0) {
      this.log.info(
        { family: lane.family, operations: report.operations, services: keys.size, complete, seconds },
        'brought Service rules in order',
      );
    }
    await this.cleanFlows(lane);
  }

  private changeOf(lane: Lane, base: BaseRules, keys: ReadonlySet<string>, complete: boolean): RuleChange {
    const rulesOf = (key: string): readonly ServicePortRules[] => {
      const { rules, problems } = this.observer.rules(key, lane.family);
      this.noteProblems(lane, key, problems);
      noteLacking(lane, key, rules);
      lane.cleaner?.note(key, rules);
      this.noteHealthCheck(lane, key, rules);
      return rules;
    };
    return {
      base,
      complete,
      // Worked out one at a time and again on each reading: all rules at once would be a lot of memory.
      services: {
        *[Symbol.iterator]() {
          for (const key of keys) yield [key, rulesOf(key)] as const;
        },
      },
    };
  }

  private baseOf(family: IPFamily): BaseRules {
    const { facts } = this;
    const ownDevice = this.lanes.find((lane) => lane.family === family)?.backend.ownDevice;
    const addresses = this.addresses.get(ownDevice);
    return {
      family,
      nodePorts: nodePortScope(family, facts, addresses),
      ...(ownDevice === undefined ? {} : { nodeAddresses: nodeAddresses(family, addresses) }),
      localDetector: facts.localDetector,
      masqueradeAll: facts.masqueradeAll,
      masqueradeBit: facts.masqueradeBit,
      localhostNodePorts: facts.localhostNodePorts,
      tcpBeLiberal: this.options.tcpBeLiberal ?? false,
      serviceCIDRs: rangesOf(facts.serviceCIDRs, family),
    };
  }

  private async cleanFlows(lane: Lane): Promise<void> {
    if (lane.cleaner === undefined) return;
    const { clock, metrics } = this.deps;
    const label = { ip_family: lane.family };
    const started = clock.monotonic();
    try {
      const deleted = await lane.cleaner.clean();
      if (deleted > 0) {
        metrics.conntrackDeleted.inc(label, deleted);
        this.log.info({ family: lane.family, flows: deleted }, 'forgot stale flows');
      }
      metrics.conntrackDuration.observe(label, (clock.monotonic() - started) / 1000);
    } catch (error) {
      this.log.warn({ family: lane.family, error: messageOf(error) }, 'could not forget stale flows');
    }
  }

  private noteHealthCheck(lane: Lane, service: string, rules: readonly ServicePortRules[]): void {
    const ports = rules.filter((one) => one.healthCheckNodePort !== 0);
    const endpoints = Math.max(0, ...ports.map((one) => one.healthCheckEndpoints));
    this.deps.healthChecks?.set(lane.family, service, ports[0]?.healthCheckNodePort ?? 0, endpoints);
  }

  /** Each problem is logged when it comes up, once although both families meet it. */
  private noteProblems(lane: Lane, service: string, problems: readonly Problem[]): void {
    const before = lane.problems.get(service) ?? [];
    if (problems.length === 0) lane.problems.delete(service);
    else lane.problems.set(service, problems);
    if (problems.length === 0 && before.length === 0) return;
    for (const problem of problems) {
      const known = [before, ...this.lanes.flatMap((one) => (one === lane ? [] : [one.problems.get(service) ?? []]))];
      if (known.some((list) => list.some((one) => one.object === problem.object && one.message === problem.message))) {
        continue;
      }
      this.log.warn({ kind: problem.kind, object: problem.object, service }, problem.message);
    }
    this.deps.metrics.invalidObjects.set({ ip_family: lane.family }, lane.problems.size);
  }

  private showPending(lane: Lane): void {
    const label = { ip_family: lane.family };
    this.deps.metrics.serviceChangesPending.set(label, lane.pendingServices);
    this.deps.metrics.endpointChangesPending.set(label, lane.pendingEndpoints);
  }

  private showReport(lane: Lane, report: SyncReport): void {
    const { metrics, clock } = this.deps;
    const ip_family = lane.family;
    metrics.lastSynced.set({ ip_family }, clock.now() / 1000);
    for (const [table, count] of Object.entries(report.totals)) metrics.rulesTotal.set({ table, ip_family }, count);
    for (const [table, count] of Object.entries(report.written)) metrics.rulesLast.set({ table, ip_family }, count);
    metrics.setAside.set({ ip_family }, report.setAside.length);
    let internal = 0;
    let external = 0;
    for (const [one, other] of lane.lacking.values()) {
      internal += one;
      external += other;
    }
    metrics.noLocalEndpoints.set({ traffic_policy: 'internal', ip_family }, internal);
    metrics.noLocalEndpoints.set({ traffic_policy: 'external', ip_family }, external);
  }

  /** One event for each Service that the kernel has refused since the last sync. */
  private tellSetAside(lane: Lane, setAside: SyncReport['setAside']): void {
    if (setAside.length === 0) return;
    const known = new Map(lane.setAside.map(({ service, reason }) => [service, reason]));
    for (const { service, reason } of setAside) {
      if (known.get(service) === reason) continue;
      const object = this.deps.services.get(service);
      if (object === undefined) continue;
      const { namespace, name, uid } = object.metadata;
      const about: ObjectReference = {
        apiVersion: 'v1',
        kind: 'Service',
        ...(namespace === undefined ? {} : { namespace }),
        ...(name === undefined ? {} : { name }),
        ...(uid === undefined ? {} : { uid }),
      };
      const message = `Node ${this.facts.nodeName} has no ${lane.family} rules for this Service: ${reason.slice(0, 300)}`;
      this.deps.events?.event(about, 'Warning', 'FailedToWriteServiceRules', message);
    }
  }

  private tellWaiting(): void {
    for (const done of [...this.waiting]) done();
  }

  private countFailure(lane: Lane, partial: boolean): void {
    const label = { ip_family: lane.family };
    if (lane.backend.name === 'nftables') {
      this.deps.metrics.nftablesFailures.inc(label);
      return;
    }
    this.deps.metrics.restoreFailures.inc(label);
    if (partial) this.deps.metrics.partialRestoreFailures.inc(label);
  }
}

async function collectInTurns(keys: Iterable<string>): Promise<Set<string>> {
  const all = new Set<string>();
  const turns = new Turns();
  for (const key of keys) {
    all.add(key);
    if (turns.over) await turns.next();
  }
  return all;
}

function rangesOf(texts: readonly string[], family: IPFamily): readonly string[] {
  const ranges = texts.flatMap((text) => parseCidr(text) ?? []).filter((range) => range.family === family);
  return [...new Set(ranges.map(formatCidr))].sort();
}

function noteLacking(lane: Lane, service: string, rules: readonly ServicePortRules[]): void {
  const internal = rules.filter((one) => one.internal === 'drop').length;
  const external = rules.filter((one) => one.external === 'drop').length;
  if (internal === 0 && external === 0) lane.lacking.delete(service);
  else lane.lacking.set(service, [internal, external]);
}
