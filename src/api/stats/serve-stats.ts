import type { CountersPort } from '../../host/counters/port.ts';
import type { MachineFacts, MachinePort } from '../../host/machine/port.ts';
import { messageOf } from '../../kit/errors.ts';
import type { Logger } from '../../kit/log.ts';
import { MetricText } from '../../kit/metric-text.ts';
import { isTrue } from '../logs/log-options.ts';
import { type Exchange, sendText } from '../router.ts';
import { cadvisorMetrics } from './cadvisor-metrics.ts';
import type { FilesystemUseSource } from './filesystem-use.ts';
import type { NodeUsage, NodeUsageSource } from './node-usage.ts';
import { resourceMetrics } from './resource-metrics.ts';
import { statsSummary } from './summary.ts';

export interface ServeStatsDeps {
  readonly usage: Pick<NodeUsageSource, 'get'>;
  readonly filesystems: Pick<FilesystemUseSource, 'get'>;
  readonly counters: Pick<CountersPort, 'network' | 'files'>;
  readonly machine: Pick<MachinePort, 'load' | 'addresses'>;
  readonly facts: MachineFacts;
  readonly nodeName: string;
  /** Milliseconds since the epoch. */
  readonly bootedAt: number;
  /** The directory of a container's logs. */
  readonly logDirectory: (pod: { uid: string; namespace: string; name: string }, container: string) => string;
  readonly log: Logger;
}

/** /stats/summary[?only_cpu_and_memory=true] */
export async function serveSummary({ response, query }: Exchange, deps: ServeStatsDeps): Promise<void> {
  const brief = isTrue(query.get('only_cpu_and_memory'));
  const usage = await deps.usage.get(brief ? 'usage' : 'all');
  const filesystems = brief ? undefined : await deps.filesystems.get();
  const { machine, counters } = deps;
  const summary = statsSummary(usage, filesystems, {
    nodeName: deps.nodeName,
    bootedAt: deps.bootedAt,
    maxPids: deps.facts.maxPids,
    tasks: brief ? undefined : (await machine.load()).tasks,
    network: brief ? undefined : counters.network('self'),
    mainInterface: machine.addresses().find(({ defaultRoute }) => defaultRoute)?.interface,
    logsOf: (pod, container) => counters.files(deps.logDirectory(pod, container)),
  });
  sendText(response, 200, JSON.stringify(summary), 'application/json');
}

/** /metrics/resource */
export async function serveResourceMetrics({ response }: Exchange, deps: ServeStatsDeps): Promise<void> {
  sendText(response, 200, resourceMetrics(await orNothing('usage', deps)), MetricText.contentType);
}

/** /metrics/cadvisor */
export async function serveCadvisorMetrics({ response }: Exchange, deps: ServeStatsDeps): Promise<void> {
  const usage = await orNothing('all', deps);
  const text = cadvisorMetrics(usage, await deps.filesystems.get(), deps.facts, deps.counters.network('self'));
  sendText(response, 200, text, MetricText.contentType);
}

async function orNothing(detail: 'usage' | 'all', { usage, log }: ServeStatsDeps): Promise<NodeUsage | undefined> {
  try {
    return await usage.get(detail);
  } catch (error) {
    log.warn({ error: messageOf(error) }, 'what the node and its pods use cannot be told');
    return undefined;
  }
}
