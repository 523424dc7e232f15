import type { CriRuntime } from '../../host/cri/port.ts';
import type { ProbePort } from '../../host/probe/port.ts';
import type { Clock } from '../../kit/clock.ts';
import { CodedError, messageOf } from '../../kit/errors.ts';
import type { Container, HTTPGetAction, LifecycleHandler } from '../../model/pod.ts';
import { portNumber } from './port-number.ts';

export interface HooksDeps {
  readonly cri: Pick<CriRuntime, 'execSync'>;
  readonly network: ProbePort;
  readonly clock: Clock;
}

export interface HookTarget {
  readonly container: Container;
  readonly containerId: string;
  readonly podIP: string | undefined;
  /** Told when an https hook had to fall back to http (event LifecycleHTTPFallback). */
  readonly onFallback: (message: string) => void;
}

/** How much of a failed hook's output stands in its event. */
const OUTPUT_SHOWN = 1024;

/** Runs postStart and preStop handlers (kubelet lifecycle/handlers.go). */
export class Hooks {
  private readonly deps: HooksDeps;

  constructor(deps: HooksDeps) {
    this.deps = deps;
  }

  /** `timeoutMs` bounds the whole hook; Infinity for none. Throws CodedError when the hook fails. */
  async run(handler: LifecycleHandler, target: HookTarget, timeoutMs: number, signal: AbortSignal): Promise<void> {
    if (handler.exec !== undefined) return this.exec(handler.exec.command ?? [], target, timeoutMs, signal);
    if (handler.httpGet !== undefined) return this.http(handler.httpGet, target, timeoutMs, signal);
    if (handler.sleep !== undefined) return this.sleep(handler.sleep.seconds, timeoutMs, signal);
    throw new CodedError('InvalidObject', 'the hook has no handler; want one of exec, httpGet, sleep');
  }

  private async exec(
    command: readonly string[],
    target: HookTarget,
    timeoutMs: number,
    signal: AbortSignal,
  ): Promise<void> {
    const timeoutSeconds = Number.isFinite(timeoutMs) ? Math.max(1, Math.ceil(timeoutMs / 1000)) : 0;
    const result = await this.deps.cri.execSync(target.containerId, command, timeoutSeconds, signal);
    if (result.exitCode === 0) return;
    const output = Buffer.concat([result.stdout, result.stderr]).subarray(0, OUTPUT_SHOWN).toString();
    throw new CodedError(
      'CommandFailed',
      `command '${command.join(' ')}' exited with ${result.exitCode}: ${JSON.stringify(output)}`,
      { exitCode: result.exitCode },
    );
  }

  private async http(action: HTTPGetAction, target: HookTarget, timeoutMs: number, signal: AbortSignal): Promise<void> {
    const host = action.host !== undefined && action.host !== '' ? action.host : target.podIP;
    if (host === undefined) throw new CodedError('Unavailable', 'the pod has no address for its httpGet hook yet');
    const reply = await this.deps.network.httpHook(
      {
        scheme: action.scheme === 'HTTPS' ? 'https' : 'http',
        host,
        port: portNumber(action.port, target.container),
        path: action.path ?? '/',
        headers: action.httpHeaders ?? [],
        timeoutMs: Number.isFinite(timeoutMs) ? timeoutMs : 2 ** 31 - 1,
      },
      signal,
    );
    if (reply.fellBackToHttp)
      target.onFallback(`request to HTTPS lifecycle hook of ${host} got an HTTP answer; retried as HTTP`);
  }

  private async sleep(seconds: number, timeoutMs: number, signal: AbortSignal): Promise<void> {
    const wanted = seconds * 1000;
    try {
      await this.deps.clock.sleep(Math.min(wanted, timeoutMs), signal);
    } catch (error) {
      throw new CodedError('Aborted', `sleep of ${seconds}s was cut off: ${messageOf(error)}`);
    }
    if (timeoutMs < wanted) throw new CodedError('DeadlineExceeded', `container terminated before sleep hook finished`);
  }
}
