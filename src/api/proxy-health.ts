import type { Counter } from 'prom-client';
import type { Metrics } from '../kit/metrics.ts';
import type { Node } from '../model/node.ts';
import type { Answer, Answers } from './plain-server.ts';

/** Of one address family; times are milliseconds since the epoch. */
export interface ProxierState {
  readonly family: string;
  readonly lastSyncedAt: number | undefined;
  /** Since when a change waits for the kernel. */
  readonly pendingSince: number | undefined;
}

export interface ProxyHealthDeps {
  readonly families: () => readonly ProxierState[];
  readonly node: () => Node | undefined;
  readonly now: () => number;
  readonly metrics: Metrics;
}

/** The cluster autoscaler puts it on a node that it is about to take away (pkg/proxy/healthcheck/proxy_health.go). */
const TO_BE_DELETED = 'ToBeDeletedByClusterAutoscaler';

/** Whether Service rules follow what the API says, in kube-proxy's words: load balancers and people ask for it. */
export class ProxyHealth {
  private readonly timeoutMs: number;
  private readonly deps: ProxyHealthDeps;
  private readonly healthz: Counter;
  private readonly livez: Counter;

  /** `timeoutMs`: for how long a change may wait; kube-proxy takes twice its syncPeriod. */
  constructor(timeoutMs: number, deps: ProxyHealthDeps) {
    this.timeoutMs = timeoutMs;
    this.deps = deps;
    const counter = (name: string): Counter =>
      deps.metrics.counter(`kubeproxy_proxy_${name}_total`, `Answers of /${name}.`, ['code']);
    this.healthz = counter('healthz');
    this.livez = counter('livez');
  }

  get healthy(): boolean {
    return this.deps.families().every((one) => this.isInTime(one));
  }

  readonly answers: Answers = (path) => {
    switch (path) {
      case '/healthz': {
        // A node that is going away must get no more traffic from outside, however well its rules are.
        const nodeEligible = this.isEligible();
        return this.answer(this.healthz, this.healthy && nodeEligible, { nodeEligible });
      }
      case '/livez':
        return this.answer(this.livez, this.healthy, {});
      default:
        return undefined;
    }
  };

  private answer(counter: Counter, well: boolean, more: { readonly nodeEligible?: boolean }): Answer {
    const { now, families } = this.deps;
    const time = (at: number | undefined): string =>
      at === undefined ? '0001-01-01T00:00:00Z' : new Date(at).toISOString();
    const known = families().filter((one) => one.lastSyncedAt !== undefined);
    const last = Math.max(...known.map(({ lastSyncedAt = 0 }) => lastSyncedAt));
    const code = well ? 200 : 503;
    counter.inc({ code: String(code) });
    const body = {
      // While all is well this says "recently", as it always did.
      lastUpdated: time(well ? now() : known.length === 0 ? undefined : last),
      currentTime: time(now()),
      ...more,
      status: Object.fromEntries(
        known.map((one) => [one.family, { lastUpdated: time(one.lastSyncedAt), healthy: this.isInTime(one) }]),
      ),
    };
    return { status: code, type: 'application/json', body: JSON.stringify(body) };
  }

  private isInTime({ lastSyncedAt, pendingSince }: ProxierState): boolean {
    if (lastSyncedAt === undefined || pendingSince === undefined) return true;
    return this.deps.now() - pendingSince < this.timeoutMs;
  }

  private isEligible(): boolean {
    const node = this.deps.node();
    if (node === undefined || node.metadata.deletionTimestamp !== undefined) return false;
    return !(node.spec?.taints ?? []).some((taint) => taint.key === TO_BE_DELETED);
  }
}
