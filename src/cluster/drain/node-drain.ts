import { formatDuration } from '../../config/duration.ts';
import type { Clock } from '../../kit/clock.ts';
import { type CodedError, type ErrorCode, hasCode, messageOf } from '../../kit/errors.ts';
import type { Node } from '../../model/node.ts';
import type { Pod } from '../../model/pod.ts';
import { resources } from '../../model/resource.ts';
import type { ApiClient } from '../port.ts';
import { type SelectOptions, selectPods } from './select-pods.ts';

export interface NodeDrainOptions {
  readonly nodeName: string;
}

export interface NodeDrainDeps {
  /** Gives a 429 that asks for a long wait back at once: how long to wait is decided here. */
  readonly api: Pick<ApiClient, 'get' | 'list' | 'patch' | 'create' | 'delete'>;
  readonly clock: Clock;
  /** A line for people; those about what goes wrong go to `warn`. */
  readonly say: (line: string) => void;
  readonly warn: (line: string) => void;
}

export interface DrainOptions extends SelectOptions {
  /** Undefined: each pod's own. */
  readonly gracePeriodSeconds: number | undefined;
  /** 0: for as long as it takes. */
  readonly timeoutMs: number;
  /** DELETE, which asks no PodDisruptionBudget. */
  readonly disableEviction: boolean;
}

/** Between one attempt to evict a pod that a PodDisruptionBudget holds and the next (kubectl's EvictErrorRetryDelay). */
const RETRY_MS = 5000;
const POLL_MS = 1000;
const PAGE = 500;
/** Requests to evict at once. */
const PARALLEL = 10;
/** TooManyRequests: a PodDisruptionBudget holds the pod. Conflict: its budget, or another pod has the name. */
const PASSING: readonly ErrorCode[] = ['TooManyRequests', 'Conflict', 'Unavailable', 'DeadlineExceeded'];
/** The API server says it in words and a cause alone (NamespaceTerminating). */
const NAMESPACE_ENDS = 'because it is being terminated';

/** A pod on its way out. */
type Stage =
  | { readonly step: 'ask'; readonly at: number }
  /** The API has taken it on. */
  | { readonly step: 'ends' }
  | { readonly step: 'refused' };

interface Leaving {
  /** As it was listed last. */
  pod: Pod;
  stage: Stage;
}

/** Takes a node out of service and back, as `kubectl drain`, `cordon` and `uncordon` do, with their words. */
export class NodeDrain {
  private readonly nodeName: string;
  private readonly deps: NodeDrainDeps;

  constructor({ nodeName }: NodeDrainOptions, deps: NodeDrainDeps) {
    this.nodeName = nodeName;
    this.deps = deps;
  }

  /** Lets no new pods in, or lets them in again. Throws what the API refuses. */
  async setUnschedulable(unschedulable: boolean): Promise<void> {
    const { api, say } = this.deps;
    const name = this.nodeName;
    const done = unschedulable ? 'cordoned' : 'uncordoned';
    const node = await api.get<Node>(resources.nodes, { name });
    if ((node.spec?.unschedulable === true) === unschedulable) {
      say(`node/${name} already ${done}`);
      return;
    }
    await api.patch(resources.nodes, { name }, { spec: { unschedulable: unschedulable || null } }, 'merge');
    say(`node/${name} ${done}`);
  }

  /**
   * Cordons the node, evicts its pods and waits until they are gone. False when something keeps it from being drained, or
   * when the time is over: what is left has been told. Throws when the API cannot be asked at all.
   */
  async drain(options: DrainOptions): Promise<boolean> {
    const { say, warn } = this.deps;
    await this.setUnschedulable(true);
    const { evict, errors, warnings } = selectPods(await this.pods(), options);
    if (errors.length > 0) {
      warn(`error: unable to drain node "${this.nodeName}": ${errors.join('; ')}`);
      return false;
    }
    for (const warning of warnings) warn(`Warning: ${warning}`);
    const left = await this.end(evict, options);
    if (left.length > 0) {
      warn(`error: unable to drain node "${this.nodeName}"; there are pending pods:`);
      for (const { pod } of left) warn(`pod/${pod.metadata.name} -n ${pod.metadata.namespace}`);
      return false;
    }
    say(`node/${this.nodeName} drained`);
    return true;
  }

  /** The pods that are still there when all is done that can be, or when the time is over. */
  private async end(pods: readonly Pod[], options: DrainOptions): Promise<readonly Leaving[]> {
    const { clock, warn } = this.deps;
    const begun = clock.monotonic();
    const deadline = options.timeoutMs === 0 ? Number.POSITIVE_INFINITY : begun + options.timeoutMs;
    let left: Leaving[] = pods.map((pod) => ({ pod, stage: { step: 'ask', at: begun } }));
    for (;;) {
      const now = clock.monotonic();
      await this.askAll(
        left.filter(({ stage }) => stage.step === 'ask' && stage.at <= now),
        options,
      );
      left = await this.stillThere(left, options);
      if (left.every(({ stage }) => stage.step === 'refused')) return left;
      const rest = deadline - clock.monotonic();
      if (rest <= 0) {
        warn(`error: global timeout reached: ${formatDuration(options.timeoutMs)}`);
        return left;
      }
      await clock.sleep(Math.min(POLL_MS, rest));
    }
  }

  private async askAll(due: readonly Leaving[], options: DrainOptions): Promise<void> {
    const waiting = [...due];
    const worker = async (): Promise<void> => {
      for (let one = waiting.shift(); one !== undefined; one = waiting.shift()) {
        one.stage = await this.ask(one.pod, options);
      }
    };
    await Promise.all(Array.from({ length: Math.min(PARALLEL, due.length) }, worker));
  }

  private async ask({ metadata }: Pod, { gracePeriodSeconds, disableEviction }: DrainOptions): Promise<Stage> {
    const { api, clock, say, warn } = this.deps;
    const { namespace, name, uid, deletionTimestamp } = metadata;
    const grace = gracePeriodSeconds === undefined ? {} : { gracePeriodSeconds };
    // Another pod may have the name by now, on another node.
    const only = uid === undefined ? {} : { uid };
    try {
      if (disableEviction) await api.delete(resources.pods, { namespace, name }, { ...grace, ...only });
      else {
        say(`evicting pod ${namespace}/${name}`);
        await api.create(
          resources.pods,
          { namespace, name, subresource: 'eviction' },
          {
            apiVersion: 'policy/v1',
            kind: 'Eviction',
            metadata: { name, namespace },
            deleteOptions: { ...grace, preconditions: only },
          },
        );
      }
      return { step: 'ends' };
    } catch (error) {
      if (hasCode(error, 'NotFound')) return { step: 'ends' };
      const what = `error when ${disableEviction ? 'deleting' : 'evicting'} pods/"${name}" -n "${namespace}"`;
      if (hasCode(error, 'Forbidden') && messageOf(error).includes(NAMESPACE_ENDS)) {
        // Nothing can be created in it any more, evictions included; its pods end all the same.
        if (deletionTimestamp !== undefined) return { step: 'ends' };
      } else if (!hasCode(error, ...PASSING) || (error as CodedError).metadata['status'] === 500) {
        // 500: more than one PodDisruptionBudget, and other things that asking again does not mend.
        warn(`${what}: ${messageOf(error)}`);
        return { step: 'refused' };
      }
      warn(`${what} (will retry after ${RETRY_MS / 1000}s): ${messageOf(error)}`);
      return { step: 'ask', at: clock.monotonic() + RETRY_MS };
    }
  }

  /** Tells of those that are gone. */
  private async stillThere(left: readonly Leaving[], { disableEviction }: DrainOptions): Promise<Leaving[]> {
    let listed: readonly Pod[];
    try {
      listed = await this.pods();
    } catch (error) {
      if (!hasCode(error, ...PASSING)) throw error;
      this.deps.warn(`error when listing the node's pods (will retry): ${messageOf(error)}`);
      return [...left];
    }
    const present = new Map(listed.map((pod) => [pod.metadata.uid, pod]));
    return left.filter((one) => {
      const pod = present.get(one.pod.metadata.uid);
      if (pod === undefined) this.deps.say(`pod/${one.pod.metadata.name} ${disableEviction ? 'deleted' : 'evicted'}`);
      else one.pod = pod;
      return pod !== undefined;
    });
  }

  private async pods(): Promise<Pod[]> {
    const pods: Pod[] = [];
    // A node's own identity may list no others.
    const fieldSelector = `spec.nodeName=${this.nodeName}`;
    let next: string | undefined;
    do {
      const page = await this.deps.api.list<Pod>(resources.pods, {
        fieldSelector,
        limit: PAGE,
        ...(next === undefined ? {} : { continue: next }),
      });
      pods.push(...page.items);
      next = page.metadata.continue || undefined;
    } while (next !== undefined);
    return pods;
  }
}
