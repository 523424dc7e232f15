import type { EventRecorder } from '../../cluster/port.ts';
import type { CriRuntime } from '../../host/cri/port.ts';
import type { ProbePort } from '../../host/probe/port.ts';
import type { Clock } from '../../kit/clock.ts';
import { CodedError, messageOf } from '../../kit/errors.ts';
import type { Metrics } from '../../kit/metrics.ts';
import type { Container, LifecycleHandler, Pod } from '../../model/pod.ts';
import { httpTarget } from './probe-action.ts';
import { outputOf } from './probe-attempt.ts';

const NOTHING = Buffer.alloc(0);

export interface HookRunnerDeps {
  readonly runtime: Pick<CriRuntime, 'execSync'>;
  readonly probes: Pick<ProbePort, 'httpHook'>;
  readonly clock: Clock;
  readonly events: EventRecorder;
  readonly metrics: Metrics;
}

export interface HookTarget {
  readonly pod: Pod;
  readonly container: Container;
  readonly containerId: string;
  readonly podIP: string | undefined;
}

/**
 * Does what a postStart or preStop handler says (kubelet pkg/kubelet/lifecycle/handlers.go): exec, httpGet or sleep.
 * How long it may take is the caller's to say, by the signal.
 */
export class HookRunner {
  private readonly deps: HookRunnerDeps;
  private readonly fallbacks;
  private readonly sleptShort;

  constructor(deps: HookRunnerDeps) {
    this.deps = deps;
    this.fallbacks = deps.metrics.counter(
      'kubelet_lifecycle_handler_http_fallbacks_total',
      'Lifecycle hooks that asked for HTTPS and were answered over HTTP.',
    );
    this.sleptShort = deps.metrics.counter(
      'kubelet_sleep_action_terminated_early_total',
      'Sleep hooks that ended before their time.',
    );
  }

  /**
   * Resolves when the hook has done its work. Throws CommandFailed (exit code), Unavailable (no answer), InvalidObject
   * (no usable handler), Aborted or DeadlineExceeded (the signal's reason, or its words).
   */
  async run(handler: LifecycleHandler, target: HookTarget, signal?: AbortSignal): Promise<void> {
    if (handler.exec !== undefined) return this.exec(handler.exec.command ?? [], target, signal);
    if (handler.httpGet !== undefined) return this.http(handler.httpGet, target, signal);
    if (handler.sleep !== undefined) return this.sleep(handler.sleep.seconds, target, signal);
    throw new CodedError('InvalidObject', `lifecycle hook of ${name(target)} needs one of exec, httpGet, sleep`);
  }

  private async exec(command: readonly string[], target: HookTarget, signal: AbortSignal | undefined): Promise<void> {
    const what = `Exec lifecycle hook ([${command.join(' ')}]) for ${name(target)} failed - error: `;
    let result: Awaited<ReturnType<CriRuntime['execSync']>>;
    try {
      result = await this.deps.runtime.execSync(target.containerId, command, 0, signal);
    } catch (error) {
      throw new CodedError(codeOf(error), `${what}${messageOf(error)}, message: ""`, {}, error);
    }
    if (result.exitCode !== 0) {
      const { exitCode, stdout, stderr } = result;
      const ended = `command '${command.join(' ')}' exited with ${exitCode}: ${outputOf(NOTHING, stderr)}`;
      const output = JSON.stringify(outputOf(stdout, stderr));
      throw new CodedError('CommandFailed', `${what}${ended}, message: ${output}`, { exitCode });
    }
  }

  private async http(
    action: NonNullable<LifecycleHandler['httpGet']>,
    target: HookTarget,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const { pod, container } = target;
    try {
      const where = httpTarget(action, container, target.podIP);
      const reply = await this.deps.probes.httpHook({ ...where, timeoutMs: Number.POSITIVE_INFINITY }, signal);
      if (!reply.fellBackToHttp) return;
    } catch (error) {
      const what = `HTTP lifecycle hook (${action.path ?? '/'}) for ${name(target)} failed - error: `;
      throw new CodedError(codeOf(error), `${what}${messageOf(error)}`, {}, error);
    }
    this.fallbacks.inc();
    const { namespace = '', name: podName = '', uid = '' } = pod.metadata;
    this.deps.events.event(
      { apiVersion: 'v1', kind: 'Pod', namespace, name: podName, uid },
      'Warning',
      'LifecycleHTTPFallback',
      `HTTPS lifecycle hook of container ${container.name} was answered over HTTP; asking again over HTTP succeeded`,
    );
  }

  private async sleep(seconds: number, target: HookTarget, signal: AbortSignal | undefined): Promise<void> {
    try {
      await this.deps.clock.sleep(seconds * 1000, signal);
    } catch (error) {
      this.sleptShort.inc();
      throw new CodedError(
        'Aborted',
        `Sleep lifecycle hook (${seconds}) for ${name(target)} failed - error: container terminated before sleep hook finished`,
        {},
        error,
      );
    }
  }
}

function name({ pod, container }: HookTarget): string {
  const { name: podName = '', namespace = '', uid = '' } = pod.metadata;
  return `Container "${container.name}" in Pod "${podName}_${namespace}(${uid})"`;
}

function codeOf(error: unknown): CodedError['code'] {
  return error instanceof CodedError ? error.code : 'Internal';
}
