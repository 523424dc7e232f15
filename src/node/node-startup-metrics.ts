import type { Metrics } from '../kit/metrics.ts';

/** Milliseconds on one clock, 0 at the start of the process. */
type AtMs = number;

/**
 * How long the node took to start (kubelet util/node_startup_latency_tracker.go). As there, nothing is said of a
 * restart: only a Node that this process made has a start to measure.
 */
export class NodeStartupMetrics {
  private readonly bootToStartMs: number;
  private readonly set: (name: keyof typeof HELP, ms: number) => void;
  private attemptedAt: AtMs | undefined;
  private registeredAt: AtMs | undefined;
  private readyAt: AtMs | undefined;

  constructor(options: { readonly nodeName: string; readonly bootToStartMs: number }, metrics: Metrics) {
    this.bootToStartMs = options.bootToStartMs;
    metrics
      .gauge('kubelet_node_name', "The node's name. The count is always 1.", ['node'])
      .set({ node: options.nodeName }, 1);
    const gauges = Object.fromEntries(
      Object.entries(HELP).map(([name, help]) => [name, metrics.gauge(`kubelet_node_startup_${name}`, help)]),
    );
    this.set = (name, ms) => gauges[name]?.set(ms / 1000);
  }

  attempted(at: AtMs): void {
    this.attemptedAt ??= at;
  }

  registeredNew(at: AtMs): void {
    if (this.attemptedAt === undefined || this.registeredAt !== undefined) return;
    this.registeredAt = at;
    this.set('pre_kubelet_duration_seconds', this.bootToStartMs);
    this.set('pre_registration_duration_seconds', this.attemptedAt);
    this.set('registration_duration_seconds', at - this.attemptedAt);
  }

  ready(at: AtMs): void {
    if (this.registeredAt === undefined || this.readyAt !== undefined) return;
    this.readyAt = at;
    this.set('post_registration_duration_seconds', at - this.registeredAt);
    this.set('duration_seconds', this.bootToStartMs + at);
  }
}

const HELP = {
  pre_kubelet_duration_seconds: 'Duration in seconds of node startup before the node agent starts.',
  pre_registration_duration_seconds: 'Duration in seconds of node startup before registration.',
  registration_duration_seconds: 'Duration in seconds of node startup during registration.',
  post_registration_duration_seconds: 'Duration in seconds of node startup after registration.',
  duration_seconds: 'Duration in seconds of node startup in total.',
} as const;
