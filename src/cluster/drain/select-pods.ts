import type { OwnerReference } from '../../model/meta.ts';
import type { Pod } from '../../model/pod.ts';

export interface SelectOptions {
  /** Pods that nobody makes anew go, too. */
  readonly force: boolean;
  /** Pods with an emptyDir go, too, and what is in it with them. */
  readonly deleteEmptyDirData: boolean;
}

export interface Selection {
  readonly evict: readonly Pod[];
  /** What keeps the node from being drained; nothing is evicted then. */
  readonly errors: readonly string[];
  readonly warnings: readonly string[];
}

const MIRROR = 'kubernetes.io/config.mirror';
/** A pod of the folder that an API of our own follows (standalone/manifests): it comes back by itself. */
const FROM_MANIFEST = 'deckhand.dev/manifest-file';

/**
 * Which pods of a node a drain ends, by the rules and in the words of kubectl (kubectl/pkg/drain/filters.go), as with
 * --ignore-daemonsets: those of a DaemonSet would be made anew at once, and mirror pods cannot be ended through the API.
 */
export function selectPods(pods: readonly Pod[], { force, deleteEmptyDirData }: SelectOptions): Selection {
  const evict: Pod[] = [];
  const errors = new Map<string, string[]>();
  const warnings = new Map<string, string[]>();
  const say = (to: Map<string, string[]>, what: string, pod: Pod): void => {
    const names = to.get(what) ?? [];
    to.set(what, [...names, `${pod.metadata.namespace}/${pod.metadata.name}`]);
  };
  for (const pod of pods) {
    if (pod.metadata.annotations?.[MIRROR] !== undefined) continue;
    const over = pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed';
    const controller = controllerOf(pod);
    if (over) {
      evict.push(pod);
      continue;
    }
    if (controller?.kind === 'DaemonSet' && controller.apiVersion === 'apps/v1') {
      say(warnings, 'ignoring DaemonSet-managed Pods', pod);
      continue;
    }
    const local = pod.spec.volumes?.some(({ emptyDir }) => emptyDir !== undefined) ?? false;
    if (local && !deleteEmptyDirData) {
      say(errors, 'cannot delete Pods with local storage (use --delete-emptydir-data to override)', pod);
      continue;
    }
    const alone = controller === undefined && pod.metadata.annotations?.[FROM_MANIFEST] === undefined;
    if (alone && !force) {
      say(errors, 'cannot delete Pods that declare no controller (use --force to override)', pod);
      continue;
    }
    if (alone) say(warnings, 'deleting Pods that declare no controller', pod);
    else if (local) say(warnings, 'deleting Pods with local storage', pod);
    evict.push(pod);
  }
  return { evict, errors: texts(errors), warnings: texts(warnings) };
}

function controllerOf(pod: Pod): OwnerReference | undefined {
  return pod.metadata.ownerReferences?.find(({ controller }) => controller === true);
}

function texts(said: ReadonlyMap<string, readonly string[]>): string[] {
  return [...said].map(([what, names]) => `${what}: ${[...names].sort().join(', ')}`);
}
