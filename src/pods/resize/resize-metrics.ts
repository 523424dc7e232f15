import type { Metrics } from '../../kit/metrics.ts';
import type { Pod } from '../../model/pod.ts';
import { parseQuantity } from '../../model/quantity.ts';
import { containersOf } from '../container-kinds.ts';
import type { ResizeGates } from './allocation.ts';
import type { ResizeConditions } from './resize-conditions.ts';

/** What is counted of resizes, by kubelet's names. */
export class ResizeMetrics {
  readonly infeasible;
  readonly deferredAccepted;
  private readonly requested;

  constructor(metrics: Metrics, conditions: () => Iterable<ResizeConditions>) {
    this.requested = metrics.counter(
      'kubelet_container_requested_resizes_total',
      'Resizes that were asked for, of containers.',
      ['resource', 'requirement', 'operation'],
    );
    this.infeasible = metrics.counter('kubelet_pod_infeasible_resizes_total', 'Resizes that this node cannot do.', [
      'reason_detail',
    ]);
    this.deferredAccepted = metrics.counter(
      'kubelet_pod_deferred_accepted_resizes_total',
      'Resizes that had to wait and were granted, by what made them be tried again.',
      ['retry_trigger'],
    );
    metrics.gauge('kubelet_pod_pending_resizes', 'Resizes that wait, by why.', ['reason'], (gauge) => {
      gauge.reset();
      for (const { pending } of conditions()) {
        if (pending !== undefined) gauge.inc({ reason: (pending.reason ?? '').toLowerCase() });
      }
    });
    metrics.gauge('kubelet_pod_in_progress_resizes', 'Resizes that are being brought into force.', [], (gauge) => {
      let count = 0;
      for (const { inProgress } of conditions()) if (inProgress !== undefined) count++;
      gauge.set(count);
    });
  }

  /** Counts what an update asks for; answers whether it resizes anything. */
  request(before: Pod, after: Pod, gates: ResizeGates): boolean {
    let any = false;
    for (const { kind, container } of containersOf(before)) {
      if (kind === 'ephemeral' || (kind === 'init' && !gates.initContainers)) continue;
      const next = containersOf(after).find((entry) => entry.kind === kind && entry.container.name === container.name);
      if (next === undefined) continue;
      for (const resource of ['memory', 'cpu'] as const) {
        for (const requirement of ['requests', 'limits'] as const) {
          const of = (list: typeof container): bigint => parseQuantity(list.resources?.[requirement]?.[resource] ?? 0);
          const operation = operationOf(of(next.container), of(container));
          if (operation === undefined) continue;
          any = true;
          this.requested.inc({ resource, requirement, operation });
        }
      }
    }
    return any;
  }
}

function operationOf(next: bigint, old: bigint): string | undefined {
  if (next === old) return undefined;
  if (next === 0n) return 'remove';
  if (old === 0n) return 'add';
  return next < old ? 'decrease' : 'increase';
}
