import type { CgroupLimits, CgroupReading } from '../../host/cgroup/port.ts';
import type { CriRuntime, LinuxResources } from '../../host/cri/port.ts';
import type { Clock } from '../../kit/clock.ts';
import { CodedError, hasCode, messageOf } from '../../kit/errors.ts';
import type { Logger } from '../../kit/log.ts';
import type { Metrics } from '../../kit/metrics.ts';
import type { ResourceList } from '../../model/meta.ts';
import type { Container, Pod } from '../../model/pod.ts';
import { formatBytes } from '../../model/quantity.ts';
import { findContainer } from '../container-kinds.ts';
import { identityOf, podText } from '../identity.ts';
import { StepError } from '../step-error.ts';
import { effectiveResources, NOTHING_ALLOCATED } from './allocation.ts';
import { podSandboxUpdate } from './pod-sandbox-update.ts';
import type { ContainerResize, ResizePlan, Sizes } from './resize-plan.ts';
import type { ResourceState } from './resource-state.ts';

export interface ResizeActuatorDeps {
  readonly cri: Pick<CriRuntime, 'updateContainerResources' | 'updatePodSandboxResources' | 'containerStats'>;
  /** The pod's cgroup: what it is to have, what it has, and setting some of its values. */
  readonly cgroups: {
    limitsOf(pod: Pod): CgroupLimits;
    current(pod: Pod): Promise<CgroupReading & Pick<CgroupLimits, 'unified'> & { readonly cpuShares: number }>;
    set(pod: Pod, limits: CgroupLimits): Promise<void>;
  };
  readonly actuated: ResourceState;
  readonly resourcesOf: (pod: Pod, container: Container) => LinuxResources;
  readonly cfsQuota: boolean;
  readonly metrics: Metrics;
  readonly clock: Pick<Clock, 'monotonic'>;
  readonly log: Logger;
}

type Resource = 'cpu' | 'memory';

/** Milliseconds; kubelet pkg/kubelet/metrics podResizeDurationBuckets. */
const DURATION_BUCKETS = [
  10, 50, 100, 500, 1000, 2000, 5000, 10_000, 20_000, 30_000, 60_000, 120_000, 300_000, 600_000,
];

/** The pod's cgroup before and after, in an order in which "no limit" of memory is more than any. */
interface PodSizes {
  readonly limit: number;
  readonly request: number;
}

/**
 * Brings a granted resize into force (kubelet kuberuntime_manager.go doPodResizeAction): memory, then cpu; what grows
 * begins with the pod, what shrinks with its containers; the runtime hears of each change of the pod's cgroup before
 * it is made. Whatever fails ends it there, and the next try goes on from what is in force by then.
 */
export class ResizeActuator {
  private readonly deps: ResizeActuatorDeps;
  private readonly duration;

  constructor(deps: ResizeActuatorDeps) {
    this.deps = deps;
    this.duration = deps.metrics.histogram(
      'kubelet_pod_resize_duration_milliseconds',
      'What it took to bring a granted resize into force, in milliseconds.',
      DURATION_BUCKETS,
      ['success'],
    );
  }

  /** Throws StepError (ResizeError), with a message that says what is in the way. */
  async resize(pod: Pod, sandboxId: string, plan: ResizePlan): Promise<void> {
    const { clock } = this.deps;
    const begun = clock.monotonic();
    let success = false;
    try {
      await this.actuate(pod, sandboxId, plan);
      success = true;
    } catch (error) {
      throw error instanceof StepError ? error : new StepError('ResizeError', messageOf(error), 'CommandFailed', error);
    } finally {
      this.duration.observe({ success: String(success) }, clock.monotonic() - begun);
    }
  }

  private async actuate(pod: Pod, sandboxId: string, plan: ResizePlan): Promise<void> {
    const { cgroups, actuated } = this.deps;
    const wanted = cgroups.limitsOf(pod);
    const now = await cgroups.current(pod);
    if (plan.memory.length > 0 || plan.pod) await this.checkMemory(plan, wanted, now);
    const target = { pod, sandboxId, inForce: { ...now } as CgroupLimits };
    const progress = new Map<string, Sizes>();
    for (const resource of ['memory', 'cpu'] as const) {
      if (plan[resource].length === 0 && !plan.pod) continue;
      await this.actuateResource(resource, target, plan[resource], { now, wanted }, progress);
      if (plan.pod) this.podActuated(pod, resource);
    }
    // What names nothing of its own has nothing of its own in force either.
    const { uid } = identityOf(pod);
    if (pod.spec.resources === undefined && actuated.get(uid)?.pod !== undefined) actuated.setPodLevel(uid, undefined);
  }

  private async actuateResource(
    resource: Resource,
    target: { readonly pod: Pod; readonly sandboxId: string; inForce: CgroupLimits },
    containers: readonly ContainerResize[],
    { now, wanted }: { readonly now: CgroupLimits; readonly wanted: CgroupLimits },
    progress: Map<string, Sizes>,
  ): Promise<void> {
    const [from, to] = [podSizes(resource, now), podSizes(resource, wanted)];
    const limit = (): Promise<void> => this.setPod(resource, target, limitValues(resource, wanted));
    const request = (): Promise<void> => this.setPod(resource, target, requestValues(resource, wanted));
    if (to.limit > from.limit) await limit();
    if (to.request > from.request) await request();
    for (const change of containers) await this.updateContainer(resource, target.pod, change, progress);
    if (to.request < from.request) await request();
    if (to.limit < from.limit) await limit();
  }

  private async setPod(
    resource: Resource,
    target: { readonly pod: Pod; readonly sandboxId: string; inForce: CgroupLimits },
    values: CgroupLimits,
  ): Promise<void> {
    const { cgroups, log } = this.deps;
    const next = { ...target.inForce, ...values };
    try {
      await this.tellRuntime(target.pod, target.sandboxId, next);
    } catch (error) {
      const why = `failed to notify runtime for UpdatePodSandboxResources (resource=${resource}); resize rejected`;
      throw new StepError('ResizeError', `${why}: ${messageOf(error)}`, 'CommandFailed', error);
    }
    try {
      await cgroups.set(target.pod, values);
    } catch (error) {
      await this.tellRuntime(target.pod, target.sandboxId, target.inForce).catch((rollback: unknown) =>
        log.warn(
          { pod: podText(identityOf(target.pod)), error: messageOf(rollback) },
          'the runtime could not be told that a resize of the pod was taken back',
        ),
      );
      throw error;
    }
    target.inForce = next;
  }

  /** A runtime that does not know the call has nothing to be told (containerd 2.2 says so by an unknown error). */
  private async tellRuntime(pod: Pod, sandboxId: string, limits: CgroupLimits): Promise<void> {
    const { overhead, resources } = podSandboxUpdate(pod, limits, this.deps.cfsQuota);
    try {
      await this.deps.cri.updatePodSandboxResources(sandboxId, overhead, resources);
    } catch (error) {
      if (hasCode(error, 'Unimplemented')) return;
      const unknown = error instanceof CodedError && error.metadata['grpcCode'] === 2;
      if (!unknown || !messageOf(error).includes('not implemented')) throw error;
    }
  }

  private async updateContainer(
    resource: Resource,
    pod: Pod,
    { name, id, from, to }: ContainerResize,
    progress: Map<string, Sizes>,
  ): Promise<void> {
    const container = findContainer(pod, name)?.container;
    if (container === undefined) return;
    const before = progress.get(id) ?? from;
    // Of the other resource the container keeps what it has: that has its own turn.
    const sizes: Sizes =
      resource === 'memory'
        ? { ...before, memoryLimit: to.memoryLimit, memoryRequest: to.memoryRequest }
        : { ...before, cpuLimit: to.cpuLimit, cpuRequest: to.cpuRequest };
    const resized = withSizes(container, sizes);
    await this.deps.cri.updateContainerResources(id, this.deps.resourcesOf(pod, resized));
    progress.set(id, sizes);
    this.deps.actuated.setContainer(identityOf(pod).uid, name, effectiveResources(pod, resized));
  }

  private podActuated(pod: Pod, resource: Resource): void {
    const { uid } = identityOf(pod);
    const { resources } = pod.spec;
    if (resources === undefined) return;
    const before = (this.deps.actuated.get(uid) ?? NOTHING_ALLOCATED).pod;
    const merged = (kind: 'requests' | 'limits'): ResourceList | undefined => {
      const wanted = resources[kind]?.[resource];
      const list = before?.[kind];
      return wanted === undefined ? list : { ...list, [resource]: wanted };
    };
    const [requests, limits] = [merged('requests'), merged('limits')];
    this.deps.actuated.setPodLevel(uid, {
      ...before,
      ...(requests === undefined ? {} : { requests }),
      ...(limits === undefined ? {} : { limits }),
    });
  }

  /** The kernel kills for a limit below what is used (v2), or refuses it half-way (v1): so nothing is begun then. */
  private async checkMemory(plan: ResizePlan, wanted: CgroupLimits, now: CgroupReading): Promise<void> {
    const [was, is] = [podSizes('memory', now).limit, podSizes('memory', wanted).limit];
    const shrinking = plan.memory.filter(
      ({ from, to }) => to.memoryLimit !== 0 && (from.memoryLimit === 0 || to.memoryLimit < from.memoryLimit),
    );
    const errors: string[] = [];
    if (is < was) {
      const used = now.memoryUsage;
      if (used === undefined) errors.push('missing pod memory usage');
      else if (used >= is) errors.push(`attempting to set pod memory limit (${is}) below current usage (${used})`);
    }
    for (const { name, id, to } of shrinking) {
      const { memory } = await this.deps.cri.containerStats(id);
      const used = memory?.usageBytes ?? memory?.workingSetBytes;
      if (used === undefined) errors.push(`missing container "${name}" memory usage`);
      else if (used >= to.memoryLimit) {
        const what = `attempting to set container "${name}" memory limit (${to.memoryLimit})`;
        errors.push(`${what} below current usage (${used})`);
      }
    }
    if (errors.length === 0) return;
    const list = errors.length === 1 ? errors[0] : `[${errors.join(', ')}]`;
    throw new StepError('ResizeError', `cannot decrease memory limits: ${list}`);
  }
}

function podSizes(resource: Resource, limits: CgroupLimits): PodSizes {
  if (resource === 'cpu') return { limit: limits.cpuQuota ?? -1, request: limits.cpuShares ?? 0 };
  const { memoryLimit = -1 } = limits;
  return { limit: memoryLimit < 0 ? Number.POSITIVE_INFINITY : memoryLimit, request: protectedMemory(limits) };
}

function limitValues(resource: Resource, { cpuQuota, cpuPeriod, memoryLimit }: CgroupLimits): CgroupLimits {
  if (resource === 'memory') return memoryLimit === undefined ? {} : { memoryLimit };
  return { ...(cpuQuota === undefined ? {} : { cpuQuota }), ...(cpuPeriod === undefined ? {} : { cpuPeriod }) };
}

function requestValues(resource: Resource, { cpuShares, unified }: CgroupLimits): CgroupLimits {
  if (resource === 'memory') return unified === undefined ? {} : { unified };
  return cpuShares === undefined ? {} : { cpuShares };
}

/** What the kernel keeps for the pod (MemoryQoS), in bytes. */
function protectedMemory({ unified }: CgroupLimits): number {
  return Number(unified?.['memory.min'] ?? 0) + Number(unified?.['memory.low'] ?? 0);
}

/** The container with these sizes; its other resources stay. */
function withSizes(container: Container, sizes: Sizes): Container {
  const { requests, limits, ...rest } = container.resources ?? {};
  const list = (old: ResourceList | undefined, cpu: number, memory: number): ResourceList => {
    const { cpu: _cpu, memory: _memory, ...kept } = old ?? {};
    return {
      ...kept,
      ...(cpu === 0 ? {} : { cpu: `${cpu}m` }),
      ...(memory === 0 ? {} : { memory: formatBytes(memory) }),
    };
  };
  return {
    ...container,
    resources: {
      ...rest,
      requests: list(requests, sizes.cpuRequest, sizes.memoryRequest),
      limits: list(limits, sizes.cpuLimit, sizes.memoryLimit),
    },
  };
}
