import type { View } from '../cluster/port.ts';
import type { Clock } from '../kit/clock.ts';
import { CodedError } from '../kit/errors.ts';
import type { Pod } from '../model/pod.ts';

/** What a node has to know of a RuntimeClass: the rest is the API server's and the scheduler's. */
export interface RuntimeHandler {
  readonly handler: string;
}

export interface RuntimeHandlersDeps {
  /** The classes by name; asked for when the first pod names one, so that nodes without such pods watch nothing. */
  readonly classes: () => View<RuntimeHandler>;
  readonly clock: Clock;
}

/** A first list that takes longer is tried again with the sandbox. */
const PATIENCE_MS = 5000;

/** Which of the runtime's handlers a pod's sandbox is made with (pkg/kubelet/runtimeclass). */
export class RuntimeHandlers {
  private readonly deps: RuntimeHandlersDeps;

  constructor(deps: RuntimeHandlersDeps) {
    this.deps = deps;
  }

  /** "" is the runtime's default. Throws NotFound for a class that does not exist, Unavailable while nothing is known. */
  async handlerOf(pod: Pod, signal: AbortSignal): Promise<string> {
    const name = pod.spec.runtimeClassName;
    if (name === undefined || name === '') return '';
    const classes = this.deps.classes();
    if (!classes.synced) await this.firstList(classes, name, signal);
    const found = classes.get(name);
    if (found !== undefined) return found.handler;
    throw new CodedError('NotFound', `runtimeclass.node.k8s.io ${JSON.stringify(name)} not found`, {
      runtimeClass: name,
    });
  }

  private async firstList(classes: View<RuntimeHandler>, name: string, signal: AbortSignal): Promise<void> {
    const patience = new AbortController();
    const timer = this.deps.clock.after(PATIENCE_MS, () => patience.abort());
    try {
      await classes.whenSynced(AbortSignal.any([signal, patience.signal]));
    } catch (error) {
      if (signal.aborted) throw error;
      const message = `failed to lookup RuntimeClass ${name}: the classes have not been read yet`;
      throw new CodedError('Unavailable', message, { runtimeClass: name }, error);
    } finally {
      timer.cancel();
    }
  }
}
