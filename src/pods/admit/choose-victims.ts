import type { Pod, QOSClass } from '../../model/pod.ts';
import { qosClassOf } from '../../model/qos.ts';
import { isPreemptable } from './critical-pod.ts';
import { requestedUnits, type Shortage, type Units } from './node-resources.ts';

/** How much of a resource is still to be freed. */
interface Need {
  readonly resource: string;
  readonly quantity: number;
}

interface Candidate {
  readonly pod: Pod;
  readonly units: Units;
}

/**
 * The pods to be killed so that a critical pod fits (pkg/kubelet/preemption): as few and as small ones as possible, and
 * no Guaranteed pod where Burstable ones are enough, no Burstable one where BestEffort ones are. A text says why there is
 * no such set.
 */
export function chooseVictims(
  pod: Pod,
  others: readonly Pod[],
  short: readonly Shortage[],
): readonly Pod[] | { readonly impossible: string } {
  const needs = short.map(({ resource, requested, used, capacity }) => ({
    resource,
    quantity: requested - (capacity - used),
  }));
  const candidates = others
    .filter((other) => isPreemptable(pod, other))
    .map((other) => ({ pod: other, units: requestedUnits(other) }));
  const of = (qos: QOSClass): Candidate[] => candidates.filter((candidate) => qosClassOf(candidate.pod) === qos);
  const [bestEffort, burstable, guaranteed] = [of('BestEffort'), of('Burstable'), of('Guaranteed')];
  const unmet = less(needs, candidates);
  if (unmet.length > 0) return { impossible: `no set of running pods found to reclaim resources: ${textOf(unmet)}` };
  // Each class gives only what all the lesser ones together could not.
  const fromGuaranteed = nearest(guaranteed, less(needs, [...bestEffort, ...burstable]));
  const fromBurstable = nearest(burstable, less(needs, [...bestEffort, ...fromGuaranteed]));
  const fromBestEffort = nearest(bestEffort, less(needs, [...fromBurstable, ...fromGuaranteed]));
  return [...fromBestEffort, ...fromBurstable, ...fromGuaranteed].map((victim) => victim.pod);
}

/** Takes, again and again, the pod that comes nearest to what is needed; of equal ones the smaller. */
function nearest(candidates: readonly Candidate[], needs: readonly Need[]): Candidate[] {
  const left = [...candidates];
  const taken: Candidate[] = [];
  let open = needs;
  while (open.length > 0) {
    const best = left.reduce<Candidate | undefined>(
      (found, candidate) => (found === undefined || isBetter(candidate, found, open) ? candidate : found),
      undefined,
    );
    if (best === undefined) return taken;
    taken.push(best);
    left.splice(left.indexOf(best), 1);
    open = less(open, [best]);
  }
  return taken;
}

function isBetter(candidate: Candidate, found: Candidate, needs: readonly Need[]): boolean {
  const [mine, theirs] = [distance(candidate, needs), distance(found, needs)];
  return mine < theirs || (mine === theirs && isSmaller(candidate, found));
}

/** The squares of what would stay unmet of each resource, as shares, so that every resource weighs the same. */
function distance({ units }: Candidate, needs: readonly Need[]): number {
  let total = 0;
  for (const { resource, quantity } of needs) {
    const left = quantity - (units[resource] ?? 0);
    if (left > 0) total += (left / quantity) ** 2;
  }
  return total;
}

function isSmaller(a: Candidate, b: Candidate): boolean {
  for (const resource of ['memory', 'cpu']) {
    const [mine, theirs] = [a.units[resource] ?? 0, b.units[resource] ?? 0];
    if (mine !== theirs) return mine < theirs;
  }
  return true;
}

function less(needs: readonly Need[], freed: readonly Candidate[]): Need[] {
  return needs
    .map(({ resource, quantity }) => ({
      resource,
      quantity: quantity - freed.reduce((total, { units }) => total + (units[resource] ?? 0), 0),
    }))
    .filter(({ quantity }) => quantity > 0);
}

function textOf(needs: readonly Need[]): string {
  return `[${needs.map(({ resource, quantity }) => `(res: ${resource}, q: ${quantity}), `).join('')}]`;
}
