import type { KubeObject } from '../../model/meta.ts';
import type { Container, Pod } from '../../model/pod.ts';

/**
 * `next` as the subresource `resize` may make it (registry/core/pod podResizeStrategy): only resources and resize
 * policies of containers and the pod's own resources are taken over. A list of other containers, or in another order, is
 * left as it is, for the validation to refuse.
 */
export function preparedResize(current: KubeObject, next: KubeObject): KubeObject {
  const [before, after] = [current, next] as [Pod, Pod];
  const { managedFields } = next.metadata;
  const { managedFields: _before, ...metadata } = current.metadata;
  const { resources: _resources, ...spec } = before.spec;
  const init = resized(before.spec.initContainers, after.spec?.initContainers);
  const { resources } = after.spec ?? {};
  return {
    ...before,
    metadata: { ...metadata, ...(managedFields === undefined ? {} : { managedFields }) },
    spec: {
      ...spec,
      containers: resized(before.spec.containers, after.spec?.containers) ?? [],
      ...(init === undefined ? {} : { initContainers: init }),
      ...(resources === undefined ? {} : { resources }),
    },
  } as KubeObject;
}

function resized(before: Container[] | undefined, after: Container[] | undefined): Container[] | undefined {
  if (after === undefined || before === undefined || before.length !== after.length) return after;
  if (after.some(({ name }, index) => name !== before[index]?.name)) return after;
  return before.map((container, index) => {
    const { resources: _resources, resizePolicy: _policy, ...rest } = container;
    const { resources, resizePolicy } = after[index] ?? {};
    return {
      ...rest,
      ...(resources === undefined ? {} : { resources }),
      ...(resizePolicy === undefined ? {} : { resizePolicy }),
    };
  });
}
