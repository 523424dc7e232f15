import type { ResourceList } from './meta.ts';
import type { Container, Pod, ResourceRequirements } from './pod.ts';
import { type Nano, parseQuantity } from './quantity.ts';

/** Exact amounts by resource name (cpu, memory, hugepages-2Mi …). */
export type Amounts = Readonly<Record<string, Nano>>;

/**
 * Requests of one container, with its limit where it names no request: the API server fills these in when a pod is
 * created; doing it again here keeps static pods and hand-made objects right.
 */
export function requestsOf(resources: ResourceRequirements | undefined): Amounts {
  return { ...amountsOf(resources?.limits), ...amountsOf(resources?.requests) };
}

export function limitsOf(resources: ResourceRequirements | undefined): Amounts {
  return amountsOf(resources?.limits);
}

export function isSidecar(container: Container): boolean {
  return container.restartPolicy === 'Always';
}

/** Resources that a pod may name for all its containers together (KEP-2837). */
export function isPodLevelResource(name: string): boolean {
  return name === 'cpu' || name === 'memory' || name.startsWith('hugepages-');
}

export function hasPodLevelResources(pod: Pod): boolean {
  const { requests = {}, limits = {} } = pod.spec.resources ?? {};
  return [...Object.keys(requests), ...Object.keys(limits)].some(isPodLevelResource);
}

/**
 * What the pod asks for as a whole (component-helpers resource.PodRequests): the larger of all long-running containers
 * together and each init container with the sidecars before it, pod-level values instead where given, and overhead.
 */
export function podRequests(pod: Pod): Amounts {
  return plus({ ...containerRequests(pod), ...podLevelRequests(pod) }, amountsOf(pod.spec.overhead));
}

/** The same of limits; overhead is added only to what is limited at all. */
export function podLimits(pod: Pod): Amounts {
  const limits = {
    ...aggregate(pod, (container) => limitsOf(container.resources)),
    ...podLevel(pod.spec.resources?.limits),
  };
  const overhead = Object.entries(amountsOf(pod.spec.overhead)).filter(([name]) => (limits[name] ?? 0n) > 0n);
  return plus(limits, Object.fromEntries(overhead));
}

/** Requests of the containers alone, without pod-level values and overhead. */
export function containerRequests(pod: Pod): Amounts {
  return aggregate(pod, (container) => requestsOf(container.resources));
}

/** Pod-level requests with the API's defaults: the containers' sum, or else the pod-level limit. */
export function podLevelRequests(pod: Pod): Amounts {
  if (!hasPodLevelResources(pod)) return {};
  const fromContainers = Object.entries(containerRequests(pod)).filter(
    ([name]) => isPodLevelResource(name) && !name.startsWith('hugepages-'),
  );
  return {
    ...podLevel(pod.spec.resources?.limits),
    ...Object.fromEntries(fromContainers),
    ...podLevel(pod.spec.resources?.requests),
  };
}

export function amountsOf(list: ResourceList | undefined): Amounts {
  const amounts: Record<string, Nano> = {};
  for (const [name, quantity] of Object.entries(list ?? {})) amounts[name] = parseQuantity(quantity);
  return amounts;
}

export function plus(left: Amounts, right: Amounts): Amounts {
  const sum: Record<string, Nano> = { ...left };
  for (const [name, amount] of Object.entries(right)) sum[name] = (sum[name] ?? 0n) + amount;
  return sum;
}

function podLevel(list: ResourceList | undefined): Amounts {
  return Object.fromEntries(Object.entries(amountsOf(list)).filter(([name]) => isPodLevelResource(name)));
}

function larger(left: Amounts, right: Amounts): Amounts {
  const result: Record<string, Nano> = { ...left };
  for (const [name, amount] of Object.entries(right)) {
    const other = result[name];
    if (other === undefined || amount > other) result[name] = amount;
  }
  return result;
}

function aggregate(pod: Pod, of: (container: Container) => Amounts): Amounts {
  let running: Amounts = {};
  for (const container of pod.spec.containers) running = plus(running, of(container));
  let sidecars: Amounts = {};
  let starting: Amounts = {};
  for (const container of pod.spec.initContainers ?? []) {
    // A sidecar goes on running, so it counts for the containers and for all init containers after it.
    if (isSidecar(container)) {
      running = plus(running, of(container));
      sidecars = plus(sidecars, of(container));
      starting = larger(starting, sidecars);
    } else {
      starting = larger(starting, plus(sidecars, of(container)));
    }
  }
  return larger(running, starting);
}
