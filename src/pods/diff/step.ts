import type { PodEnd } from '../facts.ts';
import type { ResizePlan } from '../resize/resize-plan.ts';

/** Everything that deckhand can do to a pod; each reads as one sentence. */
export type Step =
  /** Make volumes and log directory ready. */
  | { readonly do: 'prepare' }
  /** Make the pod's cgroup, or bring its limits up to date. */
  | { readonly do: 'ensureCgroup' }
  /** Bring the resources that the running pod was granted into force. */
  | { readonly do: 'resizePod'; readonly sandboxId: string; readonly plan: ResizePlan }
  | { readonly do: 'createSandbox'; readonly attempt: number }
  /** Kill what is left in a sandbox and take down its network. */
  | { readonly do: 'stopSandbox'; readonly id: string }
  /** Remove a stopped sandbox with its containers. */
  | { readonly do: 'removeSandbox'; readonly id: string }
  /** Have the container's image on the node, as its pull policy wants. */
  | { readonly do: 'ensureImage'; readonly container: string }
  /** Create and start a container and run its postStart hook. */
  | {
      readonly do: 'startContainer';
      readonly container: string;
      readonly sandboxId: string;
      readonly restartCount: number;
      readonly imageRef: string;
      /** A container that was created but never started: start it as it is. */
      readonly createdId: string | undefined;
    }
  /** Announce a container's end and start its preStop hook. */
  | {
      readonly do: 'beginKill';
      readonly container: string;
      readonly id: string;
      readonly graceSeconds: number;
      readonly message: string;
      readonly runPreStop: boolean;
    }
  /** Bring the deadline of a kill forward. */
  | { readonly do: 'shortenKill'; readonly id: string; readonly deadline: number }
  /** Send the stop signal, and SIGKILL after `timeoutSeconds`. */
  | {
      readonly do: 'stopContainer';
      readonly container: string;
      readonly id: string;
      readonly timeoutSeconds: number;
      readonly deadline: number;
    }
  /** `keepLog`: another container of the same name goes on counting from there (in-place restart). */
  | { readonly do: 'removeContainer'; readonly id: string; readonly keepLog?: true }
  /** Record that the pod must end. */
  | { readonly do: 'endPod'; readonly end: PodEnd }
  | { readonly do: 'unmountVolumes' }
  | { readonly do: 'removeCgroup' }
  /** Have the API remove the pod object. */
  | { readonly do: 'finalize' }
  /** Remove what a deleted pod left: logs and directories. */
  | { readonly do: 'cleanUp' };

/** Steps of one key never run twice at a time. */
export function runKey(step: Step): string {
  switch (step.do) {
    // App containers start one after the other: a postStart hook holds those behind it (Kubernetes documentation,
    // container lifecycle hooks; service meshes rely on it).
    case 'startContainer':
      return 'start';
    case 'ensureImage':
      return `image/${step.container}`;
    case 'stopSandbox':
    case 'removeSandbox':
    case 'removeContainer':
    case 'beginKill':
    case 'shortenKill':
      return `${step.do}/${step.id}`;
    case 'stopContainer':
      return `stopContainer/${step.id}/${step.deadline}`;
    case 'prepare':
    case 'ensureCgroup':
    case 'resizePod':
    case 'createSandbox':
    case 'endPod':
    case 'unmountVolumes':
    case 'removeCgroup':
    case 'finalize':
    case 'cleanUp':
      return step.do;
  }
}

/** What a failure of the step is remembered by, so that it is tried again later and shown in the meantime. */
export function failureKey(step: Step): string {
  return step.do === 'startContainer' ? `start/${step.container}` : runKey(step);
}
