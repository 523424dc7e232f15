import type { InterfaceCounters } from '../../host/counters/port.ts';
import type { MachineFacts } from '../../host/machine/port.ts';
import { type MetricFamily, MetricText, renderLabels } from '../../kit/metric-text.ts';
import type { FilesystemUse } from './filesystem-use.ts';
import type { NodeUsage, Usage } from './node-usage.ts';

interface Counted extends MetricFamily {
  readonly of: (usage: Usage) => number | undefined;
  /** Besides those of what is counted, rendered. */
  readonly labels?: string;
  /** Without a time of its own: it hardly changes. */
  readonly timeless?: boolean;
}

const seconds = (nanoseconds: number | undefined): number | undefined =>
  nanoseconds === undefined ? undefined : nanoseconds / 1e9;
const counter = (name: string, help: string, of: Counted['of'], labels?: Counted['labels']): Counted => ({
  name: `container_${name}`,
  type: 'counter',
  help,
  of,
  ...(labels === undefined ? {} : { labels }),
});
const gauge = (name: string, help: string, of: Counted['of'], timeless = false): Counted => ({
  name: `container_${name}`,
  type: 'gauge',
  help,
  of,
  timeless,
});

// google/cadvisor metrics/prometheus.go, with kubelet's choice of metrics.
const COUNTED: readonly Counted[] = [
  gauge('last_seen', 'Last time a container was seen by the exporter', ({ atMs }) => Math.trunc(atMs / 1000)),
  counter(
    'cpu_usage_seconds_total',
    'Cumulative cpu time consumed in seconds.',
    (u) => seconds(u.cpuNanoseconds),
    'cpu="total"',
  ),
  counter('cpu_user_seconds_total', 'Cumulative user cpu time consumed in seconds.', (u) => seconds(u.userNanoseconds)),
  counter('cpu_system_seconds_total', 'Cumulative system cpu time consumed in seconds.', (u) =>
    seconds(u.systemNanoseconds),
  ),
  ...(
    [
      ['cpu_cfs_periods_total', 'Number of elapsed enforcement period intervals.', (u: Usage) => u.periods],
      ['cpu_cfs_throttled_periods_total', 'Number of throttled period intervals.', (u: Usage) => u.throttledPeriods],
      [
        'cpu_cfs_throttled_seconds_total',
        'Total time duration the container has been throttled.',
        (u: Usage) => seconds(u.throttledNanoseconds),
      ],
    ] as const
  ).map(([name, help, of]) => counter(name, help, (u) => (u.cpuQuota === undefined ? undefined : of(u)))),
  gauge(
    'memory_usage_bytes',
    'Current memory usage in bytes, including all memory regardless of when it was accessed',
    (u) => u.memoryBytes,
  ),
  gauge('memory_max_usage_bytes', 'Maximum memory usage recorded in bytes', (u) => u.memoryPeakBytes),
  gauge('memory_working_set_bytes', 'Current working set in bytes.', (u) => u.workingSetBytes),
  gauge('memory_rss', 'Size of RSS in bytes.', (u) => u.rssBytes),
  gauge('memory_cache', 'Number of bytes of page cache memory.', (u) => u.cacheBytes),
  gauge('memory_kernel_usage', 'Size of kernel memory allocated in bytes.', (u) => u.kernelBytes),
  gauge('memory_mapped_file', 'Size of memory mapped files in bytes.', (u) => u.mappedFileBytes),
  gauge('memory_swap', 'Container swap usage in bytes.', (u) => u.swapBytes),
  counter('memory_failcnt', 'Number of memory usage hits limits', (u) => u.memoryFailures),
  gauge('memory_total_active_file_bytes', 'Current total active file in bytes.', (u) => u.activeFileBytes),
  gauge('memory_total_inactive_file_bytes', 'Current total inactive file in bytes.', (u) => u.inactiveFileBytes),
  ...(['pgfault', 'pgmajfault'] as const).map((failure_type) =>
    counter(
      'memory_failures_total',
      'Cumulative count of memory allocation failures.',
      (u) => (failure_type === 'pgfault' ? u.pageFaults : u.majorPageFaults),
      `failure_type="${failure_type}",scope="hierarchy"`,
    ),
  ),
  counter('oom_events_total', 'Count of out of memory events observed for the container', (u) => u.oomKills),
  gauge('processes', 'Number of processes running inside the container.', (u) => u.processes),
  gauge('threads', 'Number of threads running inside the container', (u) => u.threads),
  ...(['cpu', 'memory', 'io'] as const).flatMap((resource) => {
    const of = (u: Usage) => u[`${resource}Pressure`];
    const doing = { cpu: 'CPU', memory: 'memory', io: 'IO' }[resource];
    return [
      counter(
        `pressure_${resource}_waiting_seconds_total`,
        `Total time duration tasks in the container have waited due to ${doing} congestion.`,
        (u) => seconds(of(u)?.some.totalNanoseconds),
      ),
      counter(
        `pressure_${resource}_stalled_seconds_total`,
        `Total time duration no tasks in the container could make progress due to ${doing} congestion.`,
        (u) => seconds(of(u)?.full.totalNanoseconds),
      ),
    ];
  }),
  gauge('spec_cpu_period', 'CPU period of the container.', (u) => u.cpuPeriod, true),
  gauge('spec_cpu_quota', 'CPU quota of the container.', (u) => u.cpuQuota, true),
  gauge('spec_cpu_shares', 'CPU share of the container.', (u) => u.cpuShares, true),
  gauge('spec_memory_limit_bytes', 'Memory limit for the container.', (u) => u.memoryLimitBytes ?? 0, true),
  gauge('spec_memory_swap_limit_bytes', 'Memory swap limit for the container.', (u) => u.swapLimitBytes ?? 0, true),
];
const START: MetricFamily = {
  name: 'container_start_time_seconds',
  type: 'gauge',
  help: 'Start time of the container since unix epoch in seconds.',
};
const NETWORK: readonly (MetricFamily & { readonly of: (interface_: InterfaceCounters) => number })[] = (
  [
    ['receive_bytes_total', 'bytes received', 'rxBytes'],
    ['receive_packets_total', 'packets received', 'rxPackets'],
    ['receive_packets_dropped_total', 'packets dropped while receiving', 'rxDropped'],
    ['receive_errors_total', 'errors encountered while receiving', 'rxErrors'],
    ['transmit_bytes_total', 'bytes transmitted', 'txBytes'],
    ['transmit_packets_total', 'packets transmitted', 'txPackets'],
    ['transmit_packets_dropped_total', 'packets dropped while transmitting', 'txDropped'],
    ['transmit_errors_total', 'errors encountered while transmitting', 'txErrors'],
  ] as const
).map(([name, what, key]) => ({
  name: `container_network_${name}`,
  type: 'counter',
  help: `Cumulative count of ${what}`,
  of: (counters) => counters[key],
}));
const DEVICES = (
  [
    ['reads_bytes_total', 'Cumulative count of bytes read', 'readBytes'],
    ['reads_total', 'Cumulative count of reads completed', 'reads'],
    ['writes_bytes_total', 'Cumulative count of bytes written', 'writeBytes'],
    ['writes_total', 'Cumulative count of writes completed', 'writes'],
  ] as const
).map(([name, help, key]) => ({ name: `container_fs_${name}`, type: 'counter', help, key }) as const);
const FS_USAGE: MetricFamily = {
  name: 'container_fs_usage_bytes',
  type: 'gauge',
  help: 'Number of bytes that are consumed by the container on this filesystem.',
};
const FS_LIMIT: MetricFamily = {
  name: 'container_fs_limit_bytes',
  type: 'gauge',
  help: 'Number of bytes that can be consumed by the container on this filesystem.',
};
const FS_INODES: MetricFamily = { name: 'container_fs_inodes_total', type: 'gauge', help: 'Number of Inodes' };
const FS_INODES_FREE: MetricFamily = {
  name: 'container_fs_inodes_free',
  type: 'gauge',
  help: 'Number of available Inodes',
};
const MACHINE = (name: string, help: string): MetricFamily => ({ name: `machine_${name}`, type: 'gauge', help });
const VERSION: MetricFamily = {
  name: 'cadvisor_version_info',
  type: 'gauge',
  help: "A metric with a constant '1' value labeled by kernel version, OS version, docker version, cadvisor version & cadvisor revision.",
};
const SCRAPE_ERROR: MetricFamily = {
  name: 'container_scrape_error',
  type: 'gauge',
  help: '1 if there was an error while getting container metrics, 0 otherwise',
};

/** /metrics/cadvisor */
export function cadvisorMetrics(
  usage: NodeUsage | undefined,
  filesystems: FilesystemUse | undefined,
  machine: MachineFacts,
  nodeNetwork: readonly InterfaceCounters[] | undefined,
): Buffer {
  const text = new MetricText();
  const entity = (labels: string, of: Usage | undefined, startedAt?: number): void => {
    if (of === undefined) return;
    for (const family of COUNTED) {
      const value = family.of(of);
      if (value === undefined) continue;
      const own = family.labels === undefined ? labels : `${labels},${family.labels}`;
      text.add(family, own, value, family.timeless === true ? undefined : of.atMs);
    }
    if (startedAt !== undefined && startedAt > 0) text.add(START, labels, startedAt / 1000);
    for (const device of of.devices ?? []) {
      const own = `${labels},device="${device.device}"`;
      for (const family of DEVICES) text.add(family, own, device[family.key], of.atMs);
    }
  };
  const network = (labels: string, interfaces: readonly InterfaceCounters[], atMs: number): void => {
    for (const one of interfaces) {
      const own = `${labels},${renderLabels({ interface: one.name })}`;
      for (const family of NETWORK) text.add(family, own, family.of(one), atMs);
    }
  };
  if (usage !== undefined) {
    entity(labelsOf('/'), usage.node);
    network(labelsOf('/'), nodeNetwork ?? [], usage.atMs);
    entity(labelsOf(usage.podsPath), usage.allPods);
    for (const {
      path,
      namespace,
      name: pod,
      usage: of,
      startedAt,
      sandbox,
      containers,
      network: interfaces,
    } of usage.pods) {
      const known = { namespace, pod };
      entity(labelsOf(path, known), of, startedAt);
      const inSandbox = labelsOf(sandbox.path, { ...known, name: sandbox.id });
      network(inSandbox, interfaces ?? [], usage.atMs);
      for (const container of containers) {
        const labels = labelsOf(container.path, {
          ...known,
          container: container.name,
          image: container.image,
          name: container.id,
        });
        entity(labels, container.usage, container.startedAt);
        const rootfs = filesystems?.containers.get(container.id);
        if (rootfs !== undefined) text.add(FS_USAGE, `${labels},device=""`, rootfs.usedBytes, rootfs.atMs);
      }
    }
  }
  const { node } = filesystems ?? {};
  if (node !== undefined) {
    const labels = `${labelsOf('/')},device=""`;
    text.add(FS_LIMIT, labels, node.capacityBytes, node.atMs);
    text.add(FS_USAGE, labels, node.capacityBytes - node.availableBytes, node.atMs);
    text.add(FS_INODES, labels, node.inodes, node.atMs);
    text.add(FS_INODES_FREE, labels, node.inodesFree, node.atMs);
  }
  const { bootID: boot_id, machineID: machine_id, systemUUID: system_uuid } = machine;
  const ids = { boot_id, machine_id, system_uuid };
  text.add(MACHINE('cpu_cores', 'Number of logical CPU cores.'), ids, machine.cpuCount);
  text.add(MACHINE('memory_bytes', 'Amount of memory installed on the machine.'), ids, machine.memoryBytes);
  text.add(MACHINE('swap_bytes', 'Amount of swap memory available on the machine.'), ids, machine.swapBytes);
  const { kernelVersion, osImage: osVersion } = machine;
  text.add(VERSION, { cadvisorRevision: '', cadvisorVersion: '', dockerVersion: '', kernelVersion, osVersion }, 1);
  text.add(SCRAPE_ERROR, {}, usage === undefined ? 1 : 0);
  return text.bytes();
}

/** All samples of a family have the same labels; those that do not apply are empty. */
function labelsOf(id: string, known: Readonly<Record<string, string>> = {}): string {
  return renderLabels({ container: '', id, image: '', name: '', namespace: '', pod: '', ...known });
}
