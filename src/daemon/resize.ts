import type { CriRuntime, LinuxResources } from '../host/cri/port.ts';
import type { Files } from '../host/files/port.ts';
import type { Container, Pod } from '../model/pod.ts';
import type { ExecutorDeps } from '../pods/act/executors.ts';
import type { PodLoopDeps } from '../pods/loop.ts';
import { ResizeActuator } from '../pods/resize/resize-actuator.ts';
import { ResourceState } from '../pods/resize/resource-state.ts';
import type { PodCgroups } from '../pods/resources/pod-cgroups.ts';
import type { Foundation } from './foundation.ts';

export interface ResizeDeps {
  readonly files: Files;
  readonly cri: CriRuntime;
  readonly cgroups: PodCgroups;
  readonly resourcesOf: (pod: Pod, container: Container) => LinuxResources;
  /** Whether a container may swap. */
  readonly swaps: (pod: Pod, container: Container) => boolean;
}

export interface Resize {
  readonly forLoop: NonNullable<PodLoopDeps['resize']>;
  readonly forExecutor: NonNullable<ExecutorDeps['resizes']>;
  /** Forgets what was granted to pods that are none of these. */
  retain(...uids: Iterable<string>[]): void;
}

/** What pods were granted and what is in force, from the files that an earlier process (or a kubelet) left. */
export async function openResize(
  { config, clock, log, metrics, closers }: Foundation,
  { files, cri, cgroups, resourcesOf, swaps }: ResizeDeps,
): Promise<Resize> {
  const logger = log.child({ part: 'resize' });
  const [allocated, actuated] = ['allocated', 'actuated'].map(
    (name) => new ResourceState(`${config.rootDir}/${name}_pods_state`, { files, clock, log: logger }),
  ) as [ResourceState, ResourceState];
  await Promise.all([allocated.load(), actuated.load()]);
  closers.add('granted resources', async () => {
    await Promise.all([allocated.flush(), actuated.flush()]);
  });
  const gates = config.resize;
  const { cpuCFSQuota: cfsQuota } = config.cgroups;
  return {
    forLoop: {
      rules: {
        gates,
        staticCpus: config.cpuManager !== undefined,
        staticMemory: config.memoryManager !== undefined,
        swaps,
      },
      allocated,
      actuated,
      cgroupOutdated: (pod) => cgroups.outdated(pod),
      metrics,
    },
    forExecutor: {
      actuated,
      gates,
      actuator: new ResizeActuator({ cri, cgroups, actuated, resourcesOf, cfsQuota, metrics, clock, log: logger }),
    },
    retain: (...uids) => {
      const known = new Set(uids.flatMap((some) => [...some]));
      allocated.retain(known);
      actuated.retain(known);
    },
  };
}
