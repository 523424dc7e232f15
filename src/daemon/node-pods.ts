import type { NodePods } from '../api/port.ts';
import { keyOf } from '../model/meta.ts';
import type { Pod } from '../model/pod.ts';
import type { PodLoop } from '../pods/loop.ts';
import type { MergedPods } from '../pods/sources/merged-pods.ts';

/** The pods of all sources with what was made of them last, which the API may not have yet. */
export function nodePods(
  pods: Pick<MergedPods, 'get' | 'values' | 'statusTarget'>,
  loop: Pick<PodLoop, 'statusOf'>,
): NodePods {
  const current = (pod: Pod): Pod => {
    const status = loop.statusOf(pod.metadata.uid ?? '');
    return status === undefined ? pod : { ...pod, status };
  };
  return {
    *values() {
      for (const pod of pods.values()) yield current(pod);
    },
    find: (namespace, name, uid) => {
      const pod = pods.get(keyOf({ metadata: { namespace, name } }));
      if (pod === undefined) return undefined;
      const own = pod.metadata.uid ?? '';
      if (uid !== undefined && uid !== own && uid !== pods.statusTarget(own)?.uid) return undefined;
      return current(pod);
    },
  };
}
