import type { NodePods, RuntimeView } from '../api/port.ts';
import { FilesystemUseSource } from '../api/stats/filesystem-use.ts';
import { showLogUse } from '../api/stats/log-use.ts';
import { NodeUsageSource } from '../api/stats/node-usage.ts';
import type { ServeStatsDeps } from '../api/stats/serve-stats.ts';
import { RealCounters } from '../host/counters/real.ts';
import type { CriRuntime } from '../host/cri/port.ts';
import { qosClassOf } from '../model/qos.ts';
import { podLogDirectory } from '../pods/identity.ts';
import { podCgroupPath } from '../pods/resources/cgroup-paths.ts';
import type { VolumeStatistics } from '../pods/volumes/volume-statistics.ts';
import type { Foundation } from './foundation.ts';
import type { Machine } from './machine.ts';

/** What is measured of the node and its pods, when somebody asks. */
export function nodeStats(
  { config, clock, log: logger, metrics }: Foundation,
  deps: {
    readonly cri: CriRuntime;
    readonly machine: Machine;
    readonly pods: NodePods;
    readonly runtime: RuntimeView;
    readonly statistics: Pick<VolumeStatistics, 'of'>;
  },
): ServeStatsDeps {
  const { cri, machine, pods, runtime, statistics } = deps;
  const { paths } = machine.podCgroups;
  const { rootDir, podLogsDir, nodeName } = config;
  const log = logger.child({ part: 'stats' });
  const counters = new RealCounters({ clock });
  const logDirectory: ServeStatsDeps['logDirectory'] = (pod, container) =>
    `${podLogDirectory(podLogsDir, pod)}/${container}`;
  showLogUse(metrics, { runtime, counters, logDirectory, clock });
  return {
    usage: new NodeUsageSource({
      counters,
      pods,
      runtime,
      cgroupOf: (pod) => podCgroupPath(paths, qosClassOf(pod), pod.metadata.uid ?? ''),
      podsCgroup: paths.root,
      memoryUsedBytes: async () => (await machine.port.load()).memoryUsedBytes,
      clock,
    }),
    filesystems: new FilesystemUseSource(
      { rootDir },
      { cri, machine: machine.port, volumesOf: (uid) => statistics.of(uid), clock, log },
    ),
    counters,
    machine: machine.port,
    facts: machine.facts,
    nodeName,
    // The wall clock may be set: the boot is told as it looks from now.
    bootedAt: clock.now() - machine.facts.uptimeMs,
    logDirectory,
    log,
  };
}
