import { MetricText } from '../kit/metric-text.ts';

const NOW = {
  name: 'kubernetes_healthcheck',
  type: 'gauge',
  help: '[STABLE] This metric records the result of a single healthcheck.',
} as const;
const TOTAL = {
  name: 'kubernetes_healthchecks_total',
  type: 'counter',
  help: '[STABLE] This metric records the results of all healthcheck.',
} as const;
const TYPE = 'healthz';

/** /metrics/slis: how health checks came out when somebody asked for them (KEP-3466). */
export class HealthSlis {
  private readonly results = new Map<string, { last: boolean; good: number; bad: number }>();

  observe(name: string, well: boolean): void {
    const result = this.results.get(name) ?? { last: well, good: 0, bad: 0 };
    result.last = well;
    if (well) result.good++;
    else result.bad++;
    this.results.set(name, result);
  }

  bytes(): Buffer {
    const text = new MetricText();
    for (const [name, { last, good, bad }] of this.results) {
      text.add(NOW, { name, type: TYPE }, last ? 1 : 0);
      if (good > 0) text.add(TOTAL, { name, status: 'success', type: TYPE }, good);
      if (bad > 0) text.add(TOTAL, { name, status: 'error', type: TYPE }, bad);
    }
    return text.bytes();
  }
}
