import type { KubeObject } from '../../model/meta.ts';
import type { Pod, PodCondition } from '../../model/pod.ts';
import { resources } from '../../model/resource.ts';
import { isObject } from '../patch/json-value.ts';
import { badRequest, conflict } from './status-error.ts';

/** The pod with the node that a Binding names (registry/core/pod/storage assignPod). Throws Conflict when it has one. */
export function bindPod(pod: Pod, binding: unknown, now: string): KubeObject {
  const target = isObject(binding) ? binding['target'] : undefined;
  const name = isObject(target) ? target['name'] : undefined;
  if (!isObject(target) || typeof name !== 'string' || name === '') throw badRequest('target.name: Required value');
  if (target['kind'] !== undefined && target['kind'] !== '' && target['kind'] !== 'Node') {
    throw badRequest(
      `target.kind: Unsupported value: ${JSON.stringify(target['kind'])}: supported values: "Node", "<empty>"`,
    );
  }
  const podName = pod.metadata.name ?? '';
  const bound = pod.spec.nodeName ?? '';
  if (pod.metadata.deletionTimestamp !== undefined) {
    throw conflict(resources.pods, podName, `pod ${podName} is being deleted, cannot be assigned to a host`);
  }
  if (bound !== '') {
    throw conflict(resources.pods, podName, `pod ${podName} is already assigned to node ${JSON.stringify(bound)}`);
  }
  const scheduled: PodCondition = { type: 'PodScheduled', status: 'True', lastTransitionTime: now };
  const others = (pod.status?.conditions ?? []).filter(({ type }) => type !== 'PodScheduled');
  return {
    ...pod,
    spec: { ...pod.spec, nodeName: name },
    status: { ...pod.status, conditions: [...others, scheduled] },
  } as KubeObject;
}
