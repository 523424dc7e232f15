import type { Container, LifecycleHandler, Pod } from '../model/pod.ts';
import { annotation } from './identity.ts';
import type { ContainerRecord, PodRuntime } from './observe/pod-runtime.ts';

/** The least of a pod that the runtime still has but the API no longer knows: enough to end it. */
export function orphanPod(runtime: PodRuntime): Pod {
  const { uid, namespace, name } = runtime;
  const newest = new Map<string, ContainerRecord>();
  for (const record of runtime.containers) if (!newest.has(record.name)) newest.set(record.name, record);
  const grace = Number(runtime.containers[0]?.annotations[annotation.podTerminationGracePeriod]);
  return {
    metadata: { uid, namespace, name },
    spec: {
      containers: [...newest.values()].map((record) => ({ name: record.name, ...lifecycleOf(record) })),
      terminationGracePeriodSeconds: Number.isInteger(grace) && grace >= 0 ? grace : 1,
    },
  };
}

/** The preStop hook that was written down when the container was made (kubelet restoreSpecsFromContainerLabels). */
function lifecycleOf({ annotations }: ContainerRecord): Pick<Container, 'lifecycle'> {
  const text = annotations[annotation.preStopHandler];
  if (text === undefined) return {};
  try {
    const preStop: unknown = JSON.parse(text);
    if (typeof preStop !== 'object' || preStop === null) return {};
    return { lifecycle: { preStop: preStop as LifecycleHandler } };
  } catch {
    return {};
  }
}
