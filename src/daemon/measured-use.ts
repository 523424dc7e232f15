import type { NodeUsage, NodeUsageSource, Usage } from '../api/stats/node-usage.ts';
import type { Clock } from '../kit/clock.ts';

/** Long enough for a rate. */
const PAUSE_MS = 1100;

interface Use {
  readonly atMs: number;
  readonly windowMs: number;
  readonly nanoCores: number;
  readonly memoryBytes: number;
}

/** Gives the embedded API, which starts before pods are measured, what metrics.k8s.io shows. */
export class MeasuredUse {
  private readonly clock: Pick<Clock, 'sleep'>;
  private source: Pick<NodeUsageSource, 'get'> | undefined;

  constructor(clock: Pick<Clock, 'sleep'>) {
    this.clock = clock;
  }

  begin(source: Pick<NodeUsageSource, 'get'>): void {
    this.source = source;
  }

  /** Measures twice, a second apart, where nobody has measured lately: use is what happens in between. */
  async measure(): Promise<{
    readonly node: Use | undefined;
    readonly pods: readonly (Pick<Use, 'atMs' | 'windowMs'> & {
      readonly namespace: string;
      readonly name: string;
      readonly containers: readonly {
        readonly name: string;
        readonly nanoCores: number;
        readonly memoryBytes: number;
      }[];
    })[];
  }> {
    if (this.source === undefined) return { node: undefined, pods: [] };
    let usage = await this.source.get('usage');
    if (usage.node?.rate === undefined) {
      await this.clock.sleep(PAUSE_MS);
      usage = await this.source.get('usage');
    }
    return { node: useOf(usage.node), pods: usage.pods.flatMap(podUse) };
  }
}

function podUse({ namespace, name, containers }: NodeUsage['pods'][number]) {
  const measured = containers.flatMap((container) => {
    const use = useOf(container.usage);
    return use === undefined ? [] : [{ name: container.name, ...use }];
  });
  const [first] = measured;
  // One whose container is too young to have a rate is left out, as metrics-server does.
  if (first === undefined || measured.length < containers.length) return [];
  return [{ namespace, name, atMs: first.atMs, windowMs: first.windowMs, containers: measured }];
}

function useOf(usage: Usage | undefined): Use | undefined {
  const { rate, workingSetBytes, atMs } = usage ?? {};
  if (rate === undefined || workingSetBytes === undefined || atMs === undefined) return undefined;
  return { atMs, windowMs: rate.spanMs, nanoCores: rate.nanoCores, memoryBytes: workingSetBytes };
}
