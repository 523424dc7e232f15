import type { CgroupCounters, CountersPort, InterfaceCounters } from '../../host/counters/port.ts';
import type { Clock } from '../../kit/clock.ts';
import type { Pod } from '../../model/pod.ts';
import type { NodePods, RuntimeView } from '../port.ts';
import { type CpuRate, CpuRates } from './cpu-rates.ts';

export interface NodeUsageDeps {
  readonly counters: CountersPort;
  readonly pods: NodePods;
  readonly runtime: RuntimeView;
  /** The cgroup of a pod, and that of all pods. */
  readonly cgroupOf: (pod: Pod) => string;
  readonly podsCgroup: string;
  /** Bytes that the machine uses, for kernels whose root cgroup does not count them (cgroup v2). */
  readonly memoryUsedBytes: () => Promise<number>;
  readonly clock: Clock;
}

export interface Usage extends CgroupCounters {
  /** CPU use since a measurement before; undefined at the first. */
  readonly rate: CpuRate | undefined;
}

export interface ContainerUsage {
  readonly name: string;
  readonly id: string;
  /** Milliseconds since the epoch. */
  readonly startedAt: number;
  readonly image: string;
  /** Its cgroup. */
  readonly path: string;
  readonly usage: Usage | undefined;
}

export interface PodUsage {
  readonly pod: Pod;
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  readonly path: string;
  readonly startedAt: number;
  readonly usage: Usage | undefined;
  /** It holds the pod's network; what it uses itself is next to nothing and not measured. */
  readonly sandbox: { readonly id: string; readonly path: string };
  readonly containers: readonly ContainerUsage[];
  /** Absent with `usage` alone, and for pods in the host's network. */
  readonly network: readonly InterfaceCounters[] | undefined;
}

export interface NodeUsage {
  readonly atMs: number;
  readonly node: Usage | undefined;
  readonly allPods: Usage | undefined;
  /** The cgroup of all pods. */
  readonly podsPath: string;
  readonly pods: readonly PodUsage[];
}

type Detail = 'usage' | 'all';

/** How old an answer may be, in milliseconds. */
const FRESH_MS: Readonly<Record<Detail, number>> = { usage: 1000, all: 5000 };

/**
 * What the node, its pods and their containers use: one pass over all of them, shared by everybody who asks while it is
 * fresh. Nothing runs while nobody asks.
 */
export class NodeUsageSource {
  private readonly deps: NodeUsageDeps;
  private readonly rates = new CpuRates();
  private readonly last = new Map<Detail, NodeUsage>();
  private readonly pending = new Map<Detail, Promise<NodeUsage>>();

  constructor(deps: NodeUsageDeps) {
    this.deps = deps;
  }

  async get(detail: Detail): Promise<NodeUsage> {
    const last = this.last.get(detail);
    // A clock that was set back must not make an old answer fresh.
    const age = last === undefined ? Number.NaN : this.deps.clock.now() - last.atMs;
    if (last !== undefined && age >= 0 && age < FRESH_MS[detail]) return last;
    const pending = this.pending.get(detail) ?? this.measure(detail).finally(() => this.pending.delete(detail));
    this.pending.set(detail, pending);
    return await pending;
  }

  private async measure(detail: Detail): Promise<NodeUsage> {
    const { counters, clock, podsCgroup } = this.deps;
    const plans = [...this.deps.pods.values()].flatMap((pod) => this.plan(pod));
    const paths = ['/', podsCgroup];
    for (const { path, containers } of plans) {
      paths.push(path);
      for (const container of containers) paths.push(container.path);
    }
    const read = await counters.cgroups(paths, detail);
    const found = new Map(paths.map((path, index) => [path, read[index]]));
    const usageOf = (path: string): Usage | undefined => {
      const of = found.get(path);
      return of === undefined ? undefined : { ...of, rate: this.rates.rate(path, of) };
    };
    const pods = plans.map((plan): PodUsage => {
      const containers = plan.containers.map((container) => ({ ...container, usage: usageOf(container.path) }));
      // They all live in the pod's network.
      const pid = containers.find(({ usage }) => usage?.pid !== undefined)?.usage?.pid;
      const network = detail === 'all' && pid !== undefined && !plan.hostNetwork ? counters.network(pid) : undefined;
      return { ...plan, usage: usageOf(plan.path), containers, network };
    });
    const node = await this.nodeUsage(usageOf('/'));
    const usage = { atMs: clock.now(), node, allPods: usageOf(podsCgroup), podsPath: podsCgroup, pods };
    this.rates.forgetOthers(new Set(paths));
    this.last.set(detail, usage);
    return usage;
  }

  private async nodeUsage(root: Usage | undefined): Promise<Usage | undefined> {
    if (root === undefined || root.memoryBytes !== undefined) return root;
    const memoryBytes = await this.deps.memoryUsedBytes();
    return { ...root, memoryBytes, workingSetBytes: Math.max(0, memoryBytes - (root.inactiveFileBytes ?? 0)) };
  }

  private plan(pod: Pod) {
    const { uid = '', namespace = '', name = '' } = pod.metadata;
    const runtime = this.deps.runtime.get(uid);
    const sandbox = runtime?.sandboxes.find(({ state }) => state === 'READY');
    if (runtime === undefined || sandbox === undefined) return [];
    const path = this.deps.cgroupOf(pod);
    const names = new Set<string>();
    const containers = runtime.containers.flatMap(({ id, name: own, state, startedAt, image }) => {
      if (state !== 'RUNNING' || names.has(own)) return [];
      names.add(own);
      return [{ name: own, id, startedAt, image, path: `${path}/${id}` }];
    });
    return [
      {
        pod,
        uid,
        namespace,
        name,
        path,
        startedAt: sandbox.createdAt,
        sandbox: { id: sandbox.id, path: `${path}/${sandbox.id}` },
        containers,
        hostNetwork: sandbox.hostNetwork,
      },
    ];
  }
}
