import type { CountersPort } from '../../host/counters/port.ts';
import type { Clock } from '../../kit/clock.ts';
import type { Metrics } from '../../kit/metrics.ts';
import type { PodInRuntime, RuntimeView } from '../port.ts';

export interface LogUseDeps {
  readonly runtime: Pick<RuntimeView, 'uids' | 'get'>;
  readonly counters: Pick<CountersPort, 'files'>;
  readonly logDirectory: (pod: Pick<PodInRuntime, 'uid' | 'namespace' | 'name'>, container: string) => string;
  readonly clock: Pick<Clock, 'monotonic'>;
}

/** Reading goes on for this long at a time, in milliseconds. */
const SLICE_MS = 3;

/** Shows what the logs of running containers take (collectors/log_metrics.go). */
export function showLogUse(metrics: Metrics, { runtime, counters, logDirectory, clock }: LogUseDeps): void {
  metrics.gauge(
    'kubelet_container_log_filesystem_used_bytes',
    "Bytes used by the container's logs on the filesystem.",
    ['uid', 'namespace', 'pod', 'container'],
    async (gauge) => {
      gauge.reset();
      let since = clock.monotonic();
      for (const uid of runtime.uids()) {
        const pod = runtime.get(uid);
        const running = pod?.containers.filter(({ state }) => state === 'RUNNING') ?? [];
        for (const container of new Set(running.map(({ name }) => name))) {
          const used = pod === undefined ? undefined : counters.files(logDirectory(pod, container));
          if (pod === undefined || used === undefined) continue;
          gauge.set({ uid, namespace: pod.namespace, pod: pod.name, container }, used.bytes);
        }
        if (clock.monotonic() - since < SLICE_MS) continue;
        await new Promise((resolve) => setImmediate(resolve));
        since = clock.monotonic();
      }
    },
  );
}
