import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

export type { Counter, Histogram } from 'prom-client';

/**
 * The process's metrics in one registry, written out in the Prometheus text format 0.0.4.
 * Names follow kubelet's and kube-proxy's where the meaning is the same.
 */
export class Metrics {
  private readonly registry = new Registry();

  /** Adds process_* (RSS, CPU, file descriptors) and event loop figures. */
  collectProcess(): void {
    // The default looks at the event loop a hundred times a second, which is most of what an idle node costs.
    collectDefaultMetrics({ register: this.registry, eventLoopMonitoringPrecision: 100 });
  }

  counter(name: string, help: string, labelNames: readonly string[] = []): Counter {
    return new Counter({ name, help, labelNames: [...labelNames], registers: [this.registry] });
  }

  gauge(
    name: string,
    help: string,
    labelNames: readonly string[] = [],
    collect?: (gauge: Gauge) => void | Promise<void>,
  ): Gauge {
    return new Gauge({
      name,
      help,
      labelNames: [...labelNames],
      registers: [this.registry],
      ...(collect === undefined
        ? {}
        : {
            collect(this: Gauge) {
              return collect(this);
            },
          }),
    });
  }

  /** `buckets` are upper bounds in the metric's unit (seconds by Prometheus convention). */
  histogram(name: string, help: string, buckets: readonly number[], labelNames: readonly string[] = []): Histogram {
    return new Histogram({
      name,
      help,
      buckets: [...buckets],
      labelNames: [...labelNames],
      registers: [this.registry],
    });
  }

  get contentType(): string {
    return this.registry.contentType;
  }

  /** The exposition text of every metric. */
  text(): Promise<string> {
    return this.registry.metrics();
  }

  /** Of some metrics only; names that nobody registered are left out. */
  async textOf(names: readonly string[]): Promise<string> {
    const known = names.filter((name) => this.registry.getSingleMetric(name) !== undefined);
    const texts = await Promise.all(known.map((name) => this.registry.getSingleMetricAsString(name)));
    return texts.map((text) => `${text}\n`).join('');
  }
}
