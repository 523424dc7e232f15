import type { CriRuntime, RuntimeStatus } from '../../host/cri/port.ts';
import type { Clock } from '../../kit/clock.ts';
import { Emitter, type Unsubscribe } from '../../kit/emitter.ts';
import { messageOf } from '../../kit/errors.ts';
import type { Logger } from '../../kit/log.ts';

/** Asked as often while all is well (kubelet: 5 s), and oftener while the node waits for its network. */
const CHECK_MS = 5000;
const CHECK_UNREADY_MS = 250;

export interface RuntimeHealthState {
  readonly runtimeReady: boolean;
  readonly networkReady: boolean;
  /** Why not, in the runtime's words. */
  readonly message: string;
  /** What kubelet says of a network that is not ready; undefined: it is, or nothing is known of it. */
  readonly networkProblem?: string;
}

/** The runtime's own verdict on itself: RuntimeReady and NetworkReady, which new sandboxes wait for. */
export class RuntimeHealth {
  state: RuntimeHealthState = { runtimeReady: false, networkReady: false, message: 'the runtime has not answered yet' };
  /** What it said last of its handlers; they do not go while it does not answer. */
  handlers: RuntimeStatus['runtimeHandlers'] = [];
  private readonly emitter: Emitter<RuntimeHealthState>;
  private readonly deps: { readonly cri: Pick<CriRuntime, 'status'>; readonly clock: Clock; readonly log: Logger };

  constructor(deps: { readonly cri: Pick<CriRuntime, 'status'>; readonly clock: Clock; readonly log: Logger }) {
    this.deps = deps;
    this.emitter = new Emitter((error) =>
      deps.log.error({ error: messageOf(error) }, 'runtime health listener failed'),
    );
  }

  subscribe(listener: (state: RuntimeHealthState) => void): Unsubscribe {
    return this.emitter.subscribe(listener);
  }

  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.check(signal);
      const { runtimeReady, networkReady } = this.state;
      await this.deps.clock.sleep(runtimeReady && networkReady ? CHECK_MS : CHECK_UNREADY_MS, signal).catch(() => {});
    }
  }

  private async check(signal: AbortSignal): Promise<void> {
    let next: RuntimeHealthState;
    try {
      const status = await this.deps.cri.status(signal);
      this.handlers = status.runtimeHandlers;
      next = verdict(status);
    } catch (error) {
      // Sandboxes are tried all the same: only the runtime's own word on its network holds them back.
      next = { ...this.state, runtimeReady: false, message: messageOf(error) };
    }
    const { state } = this;
    this.state = next;
    if (state.runtimeReady === next.runtimeReady && state.networkReady === next.networkReady) return;
    this.deps.log.info({ ...next }, 'container runtime readiness changed');
    this.emitter.emit(next);
  }
}

function verdict(status: RuntimeStatus): RuntimeHealthState {
  const find = (type: string): RuntimeStatus['conditions'][number] | undefined =>
    status.conditions.find((condition) => condition.type === type);
  const runtime = find('RuntimeReady');
  const network = find('NetworkReady');
  const bad = [runtime, network].filter((condition) => condition?.status !== true);
  const { reason = '', message = '' } = network ?? {};
  const said = network === undefined ? '<nil>' : `NetworkReady=false reason:${reason} message:${message}`;
  return {
    runtimeReady: runtime?.status === true,
    networkReady: network?.status === true,
    ...(network?.status === true ? {} : { networkProblem: `container runtime network not ready: ${said}` }),
    message: bad.map((condition) => `${condition?.reason ?? 'Unknown'}: ${condition?.message ?? ''}`).join('; '),
  };
}
