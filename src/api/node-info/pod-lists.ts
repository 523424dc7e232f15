import type { Pod } from '../../model/pod.ts';
import type { NodePods, RuntimeView } from '../port.ts';

/** /pods: what this node is to run, with its status, as a v1 PodList; piece by piece. */
export function* podList(pods: NodePods): Generator<string> {
  yield* list(pods.values());
}

/** /runningpods/: what the runtime runs, whoever asked for it (kubelet container.Pod ToAPIPod). */
export function* runningPodList(runtime: RuntimeView): Generator<string> {
  yield* list(running(runtime));
}

function* running(runtime: RuntimeView): Generator<Pick<Pod, 'metadata'> & { spec: object; status: object }> {
  for (const uid of runtime.uids()) {
    const pod = runtime.get(uid);
    const containers = (pod?.containers ?? []).filter(({ state }) => state === 'RUNNING');
    if (pod === undefined || containers.length === 0) continue;
    yield {
      metadata: { name: pod.name, namespace: pod.namespace, uid },
      spec: { containers: containers.map(({ name, image }) => ({ name, image, resources: {} })) },
      status: {},
    };
  }
}

function* list(items: Iterable<object>): Generator<string> {
  yield '{"kind":"PodList","apiVersion":"v1","metadata":{},"items":[';
  let first = true;
  for (const item of items) {
    yield `${first ? '' : ','}${JSON.stringify(item)}`;
    first = false;
  }
  yield ']}\n';
}
