import { type MetricFamily, MetricText } from '../../kit/metric-text.ts';
import type { NodeUsage, Usage } from './node-usage.ts';

const family = (name: string, type: MetricFamily['type'], help: string): MetricFamily => ({ name, type, help });
const CPU = 'Cumulative cpu time consumed by the';
const SET = 'Current working set of the';

// kubelet metrics/collectors/resource_metrics.go
const FAMILIES = {
  node: {
    cpu: family('node_cpu_usage_seconds_total', 'counter', `[STABLE] ${CPU} node in core-seconds`),
    memory: family('node_memory_working_set_bytes', 'gauge', `[STABLE] ${SET} node in bytes`),
    swap: family('node_swap_usage_bytes', 'gauge', '[ALPHA] Current swap usage of the node in bytes'),
  },
  pod: {
    cpu: family('pod_cpu_usage_seconds_total', 'counter', `[STABLE] ${CPU} pod in core-seconds`),
    memory: family('pod_memory_working_set_bytes', 'gauge', `[STABLE] ${SET} pod in bytes`),
    swap: family('pod_swap_usage_bytes', 'gauge', '[ALPHA] Current amount of the pod swap usage in bytes'),
  },
  container: {
    cpu: family('container_cpu_usage_seconds_total', 'counter', `[STABLE] ${CPU} container in core-seconds`),
    memory: family('container_memory_working_set_bytes', 'gauge', `[STABLE] ${SET} container in bytes`),
    swap: family('container_swap_usage_bytes', 'gauge', '[ALPHA] Current amount of the container swap usage in bytes'),
  },
} as const;
const SWAP_LIMIT = family(
  'container_swap_limit_bytes',
  'gauge',
  '[ALPHA] Current amount of the container swap limit in bytes',
);
const START = family(
  'container_start_time_seconds',
  'gauge',
  '[STABLE] Start time of the container since unix epoch in seconds',
);
const ERROR = family(
  'resource_scrape_error',
  'gauge',
  '[STABLE] 1 if there was an error while getting container metrics, 0 otherwise',
);

/** /metrics/resource: what metrics-server asks for. `usage` undefined: it could not be measured. */
export function resourceMetrics(usage: NodeUsage | undefined): Buffer {
  const text = new MetricText();
  const three = (kind: keyof typeof FAMILIES, labels: Record<string, string>, of: Usage | undefined): void => {
    if (of === undefined) return;
    const { cpu, memory, swap } = FAMILIES[kind];
    text.add(cpu, labels, of.cpuNanoseconds === undefined ? undefined : of.cpuNanoseconds / 1e9, of.atMs);
    text.add(memory, labels, of.workingSetBytes, of.atMs);
    text.add(swap, labels, of.swapBytes, of.atMs);
  };
  three('node', {}, usage?.node);
  for (const { pod, containers, usage: of } of usage?.pods ?? []) {
    const { name = '', namespace = '' } = pod.metadata;
    three('pod', { namespace, pod: name }, of);
    for (const container of containers) {
      const labels = { container: container.name, namespace, pod: name };
      three('container', labels, container.usage);
      if (container.usage !== undefined) {
        text.add(SWAP_LIMIT, labels, container.usage.swapLimitBytes, container.usage.atMs);
      }
      if (container.startedAt > 0) text.add(START, labels, container.startedAt / 1000);
    }
  }
  text.add(ERROR, {}, usage === undefined ? 1 : 0);
  return text.bytes();
}
