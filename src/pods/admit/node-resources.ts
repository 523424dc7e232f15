import type { ResourceList } from '../../model/meta.ts';
import { qualifiedNameError } from '../../model/names.ts';
import type { Container, Pod } from '../../model/pod.ts';
import { type Amounts, amountsOf, podRequests } from '../../model/pod-resources.ts';
import type { Nano } from '../../model/quantity.ts';

/** Whole units by resource name as the scheduler counts them: millicores of cpu, bytes, pieces. */
export type Units = Readonly<Record<string, number>>;

/** One resource of which the node has not enough. */
export interface Shortage {
  readonly resource: string;
  readonly requested: number;
  readonly used: number;
  readonly capacity: number;
}

const COUNTED = ['cpu', 'memory', 'ephemeral-storage'];

/**
 * Resources that a pod asks for and that `others` leave too little of (scheduler plugin noderesources.Fits): pods first,
 * then cpu, memory, ephemeral storage, then the rest by name. Extended resources that the node does not have at all are
 * the cluster's business and are not looked at (lifecycle/predicate.go removeMissingExtendedResources).
 */
export function shortages(pod: Pod, others: readonly Pod[], allocatable: ResourceList): Shortage[] {
  const capacity = unitsOf(amountsOf(allocatable));
  const found: Shortage[] = [];
  const most = capacity['pods'] ?? 0;
  if (others.length + 1 > most) found.push({ resource: 'pods', requested: 1, used: others.length, capacity: most });
  const wanted = requestedUnits(withoutMissing(pod, allocatable));
  const names = [
    ...COUNTED,
    ...Object.keys(wanted)
      .filter((name) => isScalar(name))
      .sort(),
  ];
  const used = sum(others.map(requestedUnits));
  for (const resource of names) {
    const requested = wanted[resource] ?? 0;
    const [inUse, has] = [used[resource] ?? 0, capacity[resource] ?? 0];
    if (requested > 0 && requested > has - inUse) found.push({ resource, requested, used: inUse, capacity: has });
  }
  return found;
}

/** What the pod asks for, in whole units; every pod is one of "pods". */
export function requestedUnits(pod: Pod): Units {
  return { ...unitsOf(podRequests(pod)), pods: 1 };
}

function unitsOf(amounts: Amounts): Record<string, number> {
  return Object.fromEntries(Object.entries(amounts).map(([name, amount]) => [name, unitOf(name, amount)]));
}

/** Rounded up, as Quantity.MilliValue and Quantity.Value do. */
function unitOf(name: string, amount: Nano): number {
  const unit = name === 'cpu' ? 1_000_000n : 1_000_000_000n;
  return Number(amount / unit) + (amount % unit > 0n ? 1 : 0);
}

function sum(all: readonly Units[]): Units {
  const total: Record<string, number> = {};
  for (const units of all) {
    for (const [name, count] of Object.entries(units)) total[name] = (total[name] ?? 0) + count;
  }
  return total;
}

function withoutMissing(pod: Pod, allocatable: ResourceList): Pod {
  const missing = (name: string): boolean => isExtended(name) && allocatable[name] === undefined;
  const strip = (containers: readonly Container[]): Container[] =>
    containers.map((container) => {
      const { resources } = container;
      if (resources === undefined) return container;
      const kept = (list: ResourceList = {}): ResourceList =>
        Object.fromEntries(Object.entries(list).filter(([name]) => !missing(name)));
      return { ...container, resources: { requests: kept(resources.requests), limits: kept(resources.limits) } };
    });
  const { containers, initContainers = [] } = pod.spec;
  return { ...pod, spec: { ...pod.spec, containers: strip(containers), initContainers: strip(initContainers) } };
}

/** Resources beside cpu, memory and storage that are counted (pkg/apis/core/v1/helper IsScalarResourceName). */
function isScalar(name: string): boolean {
  return (
    isExtended(name) ||
    name.startsWith('hugepages-') ||
    name.startsWith('attachable-volumes-') ||
    (name.includes('/') && name.includes('kubernetes.io/'))
  );
}

/** With a domain that is not Kubernetes' own (IsExtendedResourceName). */
function isExtended(name: string): boolean {
  if (!name.includes('/') || name.includes('kubernetes.io/') || name.startsWith('requests.')) return false;
  return qualifiedNameError(`requests.${name}`) === undefined;
}
