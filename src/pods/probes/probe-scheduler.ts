import { isDeepStrictEqual } from 'node:util';
import type { EventRecorder } from '../../cluster/port.ts';
import type { CriRuntime } from '../../host/cri/port.ts';
import type { ProbePort, ProbeReply } from '../../host/probe/port.ts';
import type { Clock } from '../../kit/clock.ts';
import { Emitter, type Unsubscribe } from '../../kit/emitter.ts';
import { messageOf } from '../../kit/errors.ts';
import type { Logger } from '../../kit/log.ts';
import type { Metrics } from '../../kit/metrics.ts';
import { TimerWheel, type WheelTimer } from '../../kit/timer-wheel.ts';
import type { ObjectReference } from '../../model/meta.ts';
import type { Container, Pod, Probe } from '../../model/pod.ts';
import { FairGate } from './fair-gate.ts';
import type { ProbeKind, ProbeManager, ProbeOutcome, ProbeResult, ProbeTarget } from './port.ts';
import { actionOf, type ProbeAction, planOf, timeoutSecondsOf } from './probe-action.ts';
import { attemptProbe, type ProbeAttemptDeps } from './probe-attempt.ts';
import { kindName, type ProbeLabels, type ProbeMetricResult, ProbeMetrics } from './probe-metrics.ts';
import {
  type AttemptResult,
  attempted,
  begin,
  dueAt,
  type ProbePlan,
  type ProbeState,
  terminate,
  ungate,
} from './probe-state.ts';

export interface ProbeSchedulerOptions {
  /** How many network probes may be under way at once, over all pods. Default 512. */
  readonly maxNetworkProbes?: number;
  /** The same for exec probes, each of which is a process in a container. Default 64. */
  readonly maxExecProbes?: number;
}

export interface ProbeSchedulerDeps {
  readonly clock: Clock;
  readonly probes: ProbePort;
  readonly runtime: Pick<CriRuntime, 'execSync'>;
  readonly events: EventRecorder;
  readonly metrics: Metrics;
  readonly log: Logger;
  /** 0..1, for the jitter of adopted containers. Default Math.random. */
  readonly random?: () => number;
  /** Told how late each attempt starts, in milliseconds: for benchmarks. */
  readonly observeLateness?: (lateMs: number) => void;
}

/** Attempts of one run that end in an error are repeated at once (kubelet prober.go maxProbeRetries). */
const MAX_TRIES = 3;
const KINDS: readonly ProbeKind[] = ['startup', 'liveness', 'readiness'];

interface ProbedContainer {
  readonly podUid: string;
  readonly containerName: string;
  readonly containerId: string;
  readonly about: ObjectReference;
  readonly startedAt: number;
  readonly probes: Map<ProbeKind, ScheduledProbe>;
}

interface ScheduledProbe {
  readonly container: ProbedContainer;
  readonly spec: Probe;
  readonly plan: ProbePlan;
  readonly labels: ProbeLabels;
  readonly timeoutSeconds: number;
  readonly timer: WheelTimer;
  action: ProbeAction;
  state: ProbeState;
  /** Waiting for a place or under way: then the timer is not set. */
  busy: boolean;
  gone: boolean;
}

interface ProbedPod {
  readonly containers: Map<string, ProbedContainer>;
  /** Every label set this pod has used, by kind and container name: they outlive container restarts. */
  readonly labels: Map<string, ProbeLabels>;
}

/**
 * Runs the probes of all pods on one timer wheel. What a probe means is decided in probe-state.ts; this class keeps the
 * time, makes the attempts, and tells results, events and metrics.
 */
export class ProbeScheduler implements ProbeManager {
  private readonly pods = new Map<string, ProbedPod>();
  private readonly containers = new Map<string, ProbedContainer>();
  private readonly wheel: TimerWheel;
  private readonly network: FairGate<ScheduledProbe>;
  private readonly exec: FairGate<ScheduledProbe>;
  private readonly outcomes: Emitter<ProbeOutcome>;
  private readonly probeMetrics: ProbeMetrics;
  private readonly deps: ProbeSchedulerDeps;
  private readonly clock: Clock;
  private readonly log: Logger;
  private readonly closing = new AbortController();
  private readonly attemptDeps: ProbeAttemptDeps;

  constructor(options: ProbeSchedulerOptions, deps: ProbeSchedulerDeps) {
    this.deps = deps;
    this.clock = deps.clock;
    this.log = deps.log;
    this.attemptDeps = { probes: deps.probes, runtime: deps.runtime, clock: deps.clock };
    const onError = (error: unknown): void => {
      this.log.error({ error: messageOf(error) }, 'a probe listener failed');
    };
    this.wheel = new TimerWheel({}, { clock: deps.clock, onError });
    this.outcomes = new Emitter<ProbeOutcome>(onError);
    this.probeMetrics = new ProbeMetrics(deps.metrics);
    this.network = new FairGate(options.maxNetworkProbes ?? 512, (probe) => void this.run(probe, this.network));
    this.exec = new FairGate(options.maxExecProbes ?? 64, (probe) => void this.run(probe, this.exec));
  }

  set(podUid: string, targets: readonly ProbeTarget[]): void {
    if (this.closing.signal.aborted) return;
    const probed = targets.filter((target) => KINDS.some((kind) => target.probes[kind] !== undefined));
    let pod = this.pods.get(podUid);
    if (pod === undefined) {
      if (probed.length === 0) return;
      pod = { containers: new Map(), labels: new Map() };
      this.pods.set(podUid, pod);
    }
    const wanted = new Set(probed.map((target) => target.containerId));
    for (const container of pod.containers.values()) {
      if (!wanted.has(container.containerId)) this.drop(pod, container);
    }
    for (const target of probed) this.setContainer(pod, podUid, target);
  }

  remove(podUid: string): void {
    const pod = this.pods.get(podUid);
    if (pod === undefined) return;
    for (const container of pod.containers.values()) this.drop(pod, container);
    for (const labels of pod.labels.values()) this.probeMetrics.forget(labels);
    this.pods.delete(podUid);
    this.network.drop(podUid);
    this.exec.drop(podUid);
  }

  result(containerId: string, kind: ProbeKind): ProbeResult | undefined {
    return this.containers.get(containerId)?.probes.get(kind)?.state.settled;
  }

  subscribe(listener: (outcome: ProbeOutcome) => void): Unsubscribe {
    return this.outcomes.subscribe(listener);
  }

  /** Starts nothing more; an answer that is still to come is dropped. */
  async close(): Promise<void> {
    this.closing.abort();
    this.wheel.close();
    this.network.clear();
    this.exec.clear();
    for (const uid of [...this.pods.keys()]) this.remove(uid);
  }

  private setContainer(pod: ProbedPod, podUid: string, target: ProbeTarget): void {
    const spec = containerOf(target.pod, target.containerName);
    let container = pod.containers.get(target.containerId);
    if (container === undefined) {
      container = {
        podUid,
        containerName: target.containerName,
        containerId: target.containerId,
        about: spec.about,
        startedAt: this.monotonicOf(target.startedAt),
        probes: new Map(),
      };
      pod.containers.set(target.containerId, container);
      this.containers.set(target.containerId, container);
    }
    // Startup first: the others ask it whether they have to wait.
    for (const kind of KINDS) {
      const wanted = target.probes[kind];
      const running = container.probes.get(kind);
      if (running !== undefined && !isDeepStrictEqual(running.spec, wanted)) this.stop(container, running);
      if (wanted === undefined) continue;
      const action = actionOf(wanted, spec.container, target.podIP);
      const kept = container.probes.get(kind);
      if (kept !== undefined) kept.action = action;
      else this.add(pod, container, kind, wanted, action, target);
    }
    if (target.terminating) {
      for (const probe of container.probes.values()) this.move(probe, terminate(probe.plan, probe.state));
    }
    this.release(container);
  }

  private add(
    pod: ProbedPod,
    container: ProbedContainer,
    kind: ProbeKind,
    spec: Probe,
    action: ProbeAction,
    target: ProbeTarget,
  ): void {
    const plan = planOf(kind, spec);
    const labels: ProbeLabels = {
      kind,
      container: container.containerName,
      pod: target.pod.metadata.name ?? '',
      namespace: target.pod.metadata.namespace ?? '',
      podUid: container.podUid,
    };
    pod.labels.set(`${kind}/${container.containerName}`, labels);
    const startup = container.probes.get('startup');
    const random = this.deps.random ?? Math.random;
    const probe: ScheduledProbe = {
      container,
      spec,
      plan,
      labels,
      timeoutSeconds: timeoutSecondsOf(spec),
      timer: this.wheel.timerFor(() => this.due(probe)),
      action,
      state: begin(plan, {
        now: this.clock.monotonic(),
        startedAt: container.startedAt,
        gated: startup !== undefined && startup.state.name !== 'done',
        adopted: target.adopted === undefined ? undefined : { ...target.adopted, jitter: random() },
        terminating: target.terminating,
      }),
      busy: false,
      gone: false,
    };
    container.probes.set(kind, probe);
    this.arm(probe);
  }

  private drop(pod: ProbedPod, container: ProbedContainer): void {
    for (const probe of [...container.probes.values()]) this.stop(container, probe);
    pod.containers.delete(container.containerId);
    this.containers.delete(container.containerId);
  }

  private stop(container: ProbedContainer, probe: ScheduledProbe): void {
    probe.gone = true;
    probe.timer.cancel();
    container.probes.delete(probe.plan.kind);
  }

  /** A wall time on the monotonic clock; a start in the future (a clock set back) counts as now. */
  private monotonicOf(wallMs: number): number {
    return this.clock.monotonic() - Math.max(0, this.clock.now() - wallMs);
  }

  private arm(probe: ScheduledProbe): void {
    if (probe.busy || probe.gone) return;
    const at = dueAt(probe.state);
    if (at === undefined) probe.timer.cancel();
    else probe.timer.at(at);
  }

  private move(probe: ScheduledProbe, state: ProbeState): void {
    if (state === probe.state) return;
    probe.state = state;
    this.arm(probe);
  }

  /** Lets liveness and readiness begin once the startup probe is done. */
  private release(container: ProbedContainer): void {
    const startup = container.probes.get('startup');
    if (startup !== undefined && startup.state.name !== 'done') return;
    const now = this.clock.monotonic();
    for (const probe of container.probes.values()) {
      this.move(probe, ungate(probe.plan, probe.state, container.startedAt, now));
    }
  }

  private due(probe: ScheduledProbe): void {
    probe.busy = true;
    (probe.action.type === 'exec' ? this.exec : this.network).submit(probe.container.podUid, probe);
  }

  private async run(probe: ScheduledProbe, gate: FairGate<ScheduledProbe>): Promise<void> {
    const began = this.clock.monotonic();
    const due = dueAt(probe.state);
    let reply: ProbeReply | undefined;
    let error: unknown;
    if (!probe.gone && due !== undefined) {
      this.deps.observeLateness?.(began - due);
      for (let tries = 0; tries < MAX_TRIES && reply === undefined && !probe.gone; tries++) {
        try {
          const { action, container, timeoutSeconds } = probe;
          reply = await attemptProbe(
            action,
            container.containerId,
            timeoutSeconds,
            this.attemptDeps,
            this.closing.signal,
          );
        } catch (thrown) {
          error = thrown;
        }
      }
    } else {
      // The gate wants `done` after `start` has returned.
      await Promise.resolve();
    }
    gate.done();
    probe.busy = false;
    if (probe.gone) return;
    // The pod began to terminate while this one ran: its state has no use for the answer.
    if (due === undefined || dueAt(probe.state) === undefined) return;
    this.record(probe, reply, error, this.clock.monotonic() - began);
  }

  private record(probe: ScheduledProbe, reply: ProbeReply | undefined, error: unknown, tookMs: number): void {
    const { container, plan } = probe;
    const before = probe.state;
    const result: AttemptResult = reply === undefined ? 'error' : reply.verdict === 'failure' ? 'failure' : 'success';
    this.probeMetrics.count(probe.labels, METRIC_RESULTS[result], tookMs / 1000);
    const message = this.tell(probe, reply, error);
    const after = attempted(plan, before, result, this.clock.monotonic());
    this.move(probe, after);
    if (plan.kind === 'startup' && after.name === 'done') this.release(container);
    if (after.settled === before.settled) return;
    this.log.info(
      { ...this.fields(probe), result: after.settled, message },
      `${kindName(plan.kind)} probe of ${container.containerName} is now ${after.settled}`,
    );
    this.outcomes.emit({
      podUid: container.podUid,
      containerName: container.containerName,
      containerId: container.containerId,
      kind: plan.kind,
      result: after.settled,
      message,
    });
  }

  /** Writes the event that kubelet writes; an eager attempt that fails is no news. Answers the message. */
  private tell(probe: ScheduledProbe, reply: ProbeReply | undefined, error: unknown): string {
    const kind = kindName(probe.plan.kind);
    const eager = probe.state.name === 'eager';
    let reason = 'Unhealthy';
    let message: string;
    if (reply === undefined) message = `${kind} probe errored and resulted in unknown state: ${messageOf(error)}`;
    else if (reply.verdict === 'failure') message = `${kind} probe failed: ${reply.output}`;
    else if (reply.verdict === 'warning') {
      reason = 'ProbeWarning';
      message = `${kind} probe warning: ${reply.output}`;
    } else return `${kind} probe succeeded`;
    this.log.debug({ ...this.fields(probe), eager }, message);
    if (!eager || reply?.verdict === 'warning')
      this.deps.events.event(probe.container.about, 'Warning', reason, message);
    return message;
  }

  private fields(probe: ScheduledProbe): Record<string, string> {
    const { namespace, pod, podUid, container } = probe.labels;
    return { namespace, pod, podUid, container, containerId: probe.container.containerId };
  }
}

const METRIC_RESULTS: Readonly<Record<AttemptResult, ProbeMetricResult>> = {
  success: 'successful',
  failure: 'failed',
  error: 'unknown',
};

/** The container in the spec and how events point at it. */
function containerOf(pod: Pod, name: string): { container: Container | undefined; about: ObjectReference } {
  const { metadata, spec } = pod;
  const regular = spec.containers.find((container) => container.name === name);
  const init = regular === undefined ? spec.initContainers?.find((container) => container.name === name) : undefined;
  const field = init === undefined ? 'containers' : 'initContainers';
  return {
    container: regular ?? init,
    about: {
      apiVersion: 'v1',
      kind: 'Pod',
      namespace: metadata.namespace ?? '',
      name: metadata.name ?? '',
      uid: metadata.uid ?? '',
      fieldPath: `spec.${field}{${name}}`,
    },
  };
}
