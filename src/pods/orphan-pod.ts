import type { Pod } from '../model/pod.ts';
import { annotation } from './identity.ts';
import type { PodRuntime } from './observe/pod-runtime.ts';

/** The least of a pod that the runtime still has but the API no longer knows: enough to end it. */
export function orphanPod(runtime: PodRuntime): Pod {
  const { uid, namespace, name } = runtime;
  const names = [...new Set(runtime.containers.map((container) => container.name))];
  const grace = Number(runtime.containers[0]?.annotations[annotation.podTerminationGracePeriod]);
  return {
    metadata: { uid, namespace, name },
    spec: {
      containers: names.map((containerName) => ({ name: containerName })),
      terminationGracePeriodSeconds: Number.isInteger(grace) && grace >= 0 ? grace : 1,
    },
  };
}
