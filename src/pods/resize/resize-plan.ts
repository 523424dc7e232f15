import type { Container, Pod, ResourceRequirements } from '../../model/pod.ts';
import { milliValueOf, wholeValueOf } from '../../model/quantity.ts';
import { containersOf } from '../container-kinds.ts';
import { newestContainer, type PodRuntime } from '../observe/pod-runtime.ts';
import { effectiveResources, type PodAllocation, type ResizeGates, withAllocation } from './allocation.ts';

/** What a resize has to know beside the pod (with the resources that it was granted) and what runs of it. */
export interface ResizeFacts {
  /** What is in force for containers and pod. */
  readonly actuated: PodAllocation;
  /** The pod's cgroup is there and set to something else than the pod was granted. */
  readonly cgroupOutdated: boolean;
  readonly gates: ResizeGates;
}

/** Thousandths of a CPU, and bytes; 0 for none. */
export interface Sizes {
  readonly cpuRequest: number;
  readonly cpuLimit: number;
  readonly memoryRequest: number;
  readonly memoryLimit: number;
}

export interface ContainerResize {
  readonly name: string;
  readonly id: string;
  readonly from: Sizes;
  readonly to: Sizes;
}

export interface ResizePlan {
  /** Containers (by name) that get their new size by a restart. */
  readonly restart: ReadonlySet<string>;
  /** Containers to be changed while they run, those that shrink first. */
  readonly memory: readonly ContainerResize[];
  readonly cpu: readonly ContainerResize[];
  /** The pod's cgroup, or what the pod itself names, differs from what is in force. */
  readonly pod: boolean;
}

type Resource = 'cpu' | 'memory';

/** What has to be done so that a pod has what it was granted (kubelet computePodResizeAction). Pure. */
export function resizePlan(pod: Pod, runtime: PodRuntime, sandboxId: string, facts: ResizeFacts): ResizePlan {
  const restart = new Set<string>();
  const changes: Record<Resource, ContainerResize[]> = { memory: [], cpu: [] };
  for (const { kind, container } of containersOf(pod)) {
    if (kind === 'ephemeral' || (kind === 'init' && !facts.gates.initContainers)) continue;
    const record = newestContainer(runtime, container.name, sandboxId);
    if (record?.state !== 'RUNNING') continue;
    const [from, to] = [sizesOf(actuatedOf(facts.actuated, container)), sizesOf(effectiveResources(pod, container))];
    const differing = (['memory', 'cpu'] as const).filter((resource) => differs(resource, from, to));
    // Validation keeps init containers, which run once, from asking for a restart.
    if (kind !== 'init' && differing.some((resource) => restartsFor(container, resource))) {
      restart.add(container.name);
      continue;
    }
    for (const resource of differing)
      insert(changes[resource], resource, { name: container.name, id: record.id, from, to });
  }
  const podLevel = facts.gates.podLevel && !sameSizes(sizesOf(facts.actuated.pod), sizesOf(pod.spec.resources));
  return { restart, memory: changes.memory, cpu: changes.cpu, pod: facts.cgroupOutdated || podLevel };
}

/** Whether what is in force differs from what was granted, of anything that runs (kubelet IsPodResizeInProgress). */
export function isResizeInProgress(pod: Pod, runtime: PodRuntime, facts: ResizeFacts): boolean {
  const sandboxId = runtime.sandboxes[0]?.id;
  if (sandboxId === undefined) return false;
  const plan = resizePlan(pod, runtime, sandboxId, { ...facts, gates: { ...facts.gates, initContainers: false } });
  // Between its end and its new beginning a container that is restarted for its size does not run.
  const between = containersOf(pod).some(
    ({ kind, container }) =>
      kind !== 'ephemeral' &&
      newestContainer(runtime, container.name, sandboxId)?.state === 'EXITED' &&
      stoppedForResize(pod, container, facts),
  );
  if (between) return true;
  return plan.restart.size > 0 || plan.memory.length > 0 || plan.cpu.length > 0 || (plan.pod && anythingRuns(runtime));
}

/** A container that has been stopped in order to get its new size, which it does not have yet. */
export function stoppedForResize(pod: Pod, container: Container, facts: ResizeFacts | undefined): boolean {
  if (facts === undefined) return false;
  const [from, to] = [sizesOf(actuatedOf(facts.actuated, container)), sizesOf(effectiveResources(pod, container))];
  return (['memory', 'cpu'] as const).some(
    (resource) => differs(resource, from, to) && restartsFor(container, resource),
  );
}

export function sizesOf(resources: ResourceRequirements | undefined): Sizes {
  const { requests = {}, limits = {} } = resources ?? {};
  return {
    cpuRequest: milliValueOf(requests['cpu'] ?? 0),
    cpuLimit: milliValueOf(limits['cpu'] ?? 0),
    memoryRequest: wholeValueOf(requests['memory'] ?? 0),
    memoryLimit: wholeValueOf(limits['memory'] ?? 0),
  };
}

export function actuatedOf(actuated: PodAllocation, { name }: Container): ResourceRequirements | undefined {
  return Object.hasOwn(actuated.containers, name) ? actuated.containers[name] : undefined;
}

/**
 * What counts as in force of containers that run and of which nothing was written down, which an earlier version of this
 * program has started: what they were granted. kubelet takes them to have nothing, and restarts some for it.
 */
export function adoptedActuation(
  pod: Pod,
  runtime: PodRuntime,
  known: PodAllocation | undefined,
): PodAllocation | undefined {
  const containers: Record<string, ResourceRequirements> = { ...known?.containers };
  let found = false;
  for (const { kind, container } of containersOf(pod)) {
    if (kind === 'ephemeral' || containers[container.name] !== undefined) continue;
    if (newestContainer(runtime, container.name)?.state !== 'RUNNING') continue;
    containers[container.name] = effectiveResources(pod, container);
    found = true;
  }
  if (!found) return undefined;
  return { containers, pod: known === undefined ? pod.spec.resources : known.pod };
}

/** The pod as it is in force: what nothing was written down of counts as granted. */
export function withActuated(pod: Pod, actuated: PodAllocation, gates: ResizeGates): Pod {
  return withAllocation(pod, { ...actuated, pod: actuated.pod ?? pod.spec.resources }, gates);
}

function anythingRuns({ containers }: PodRuntime): boolean {
  return containers.some(({ state }) => state === 'RUNNING');
}

function restartsFor({ resizePolicy = [] }: Container, resource: Resource): boolean {
  return resizePolicy.find(({ resourceName }) => resourceName === resource)?.restartPolicy === 'RestartContainer';
}

function differs(resource: Resource, from: Sizes, to: Sizes): boolean {
  return resource === 'cpu'
    ? from.cpuLimit !== to.cpuLimit || from.cpuRequest !== to.cpuRequest
    : from.memoryLimit !== to.memoryLimit || from.memoryRequest !== to.memoryRequest;
}

function sameSizes(from: Sizes, to: Sizes): boolean {
  return !differs('cpu', from, to) && !differs('memory', from, to);
}

/** What shrinks goes before what grows: together they have to stay within the pod's. */
function insert(list: ContainerResize[], resource: Resource, change: ContainerResize): void {
  const { from, to } = change;
  const [before, after] =
    resource === 'cpu'
      ? from.cpuLimit === to.cpuLimit
        ? [from.cpuRequest, to.cpuRequest]
        : [from.cpuLimit, to.cpuLimit]
      : from.memoryLimit === to.memoryLimit
        ? [from.memoryRequest, to.memoryRequest]
        : [from.memoryLimit, to.memoryLimit];
  if (after < before) list.unshift(change);
  else list.push(change);
}
