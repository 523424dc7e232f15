import { retryAt } from '../../kit/backoff.ts';
import type { Pod } from '../../model/pod.ts';
import type { PodFacts } from '../facts.ts';
import type { PodRuntime } from '../observe/pod-runtime.ts';
import type { ProbeKind, ProbeResult } from '../probes/port.ts';
import type { ResizeFacts } from '../resize/resize-plan.ts';
import { failureKey, runKey, type Step } from './step.ts';

/** Everything that decides what happens to a pod next. */
export interface PlanInput {
  readonly pod: Pod;
  /** 'delete': the API waits for the pod's end; 'gone': the API has no such pod any more. */
  readonly intent: 'run' | 'delete' | 'gone';
  readonly runtime: PodRuntime;
  readonly facts: PodFacts;
  readonly probe: (containerId: string, kind: ProbeKind) => ProbeResult | undefined;
  readonly node: { readonly networkReady: boolean; readonly networkMessage: string };
  /** What is in force of the pod's resources; undefined where nothing resizes pods. */
  readonly resize?: ResizeFacts;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

export interface Waiting {
  readonly reason: string;
  readonly message?: string;
}

export interface Plan {
  /** `terminated`: nothing of the pod runs and nothing of it is on the host but dead containers and logs. */
  readonly mode: 'sync' | 'terminating' | 'terminated';
  readonly steps: readonly Step[];
  /** When to plan again although nothing was observed to change. */
  readonly againAt: number | undefined;
  /** Why each container that neither runs nor has ended for good is not running. */
  readonly waiting: ReadonlyMap<string, Waiting>;
}

/** Collects the steps of one plan: leaves out what is under way, and what failed too lately to be tried again. */
export class PlanBuilder {
  readonly steps: Step[] = [];
  readonly waiting = new Map<string, Waiting>();
  againAt: number | undefined;
  readonly input: PlanInput;

  constructor(input: PlanInput) {
    this.input = input;
  }

  /** Returns whether the step was taken into the plan. */
  push(step: Step): boolean {
    const { facts, now } = this.input;
    if (facts.running.has(runKey(step))) return false;
    const failure = facts.failures.get(failureKey(step));
    if (failure !== undefined && retryAt(failure.backoff, now) > now) {
      this.lookAgainAt(retryAt(failure.backoff, now));
      return false;
    }
    if (this.steps.some((other) => runKey(other) === runKey(step))) return false;
    this.steps.push(step);
    return true;
  }

  lookAgainAt(time: number): void {
    if (this.againAt === undefined || time < this.againAt) this.againAt = time;
  }

  build(mode: Plan['mode']): Plan {
    return { mode, steps: this.steps, againAt: this.againAt, waiting: this.waiting };
  }
}
