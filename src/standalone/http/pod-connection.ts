import type { Node } from '../../model/node.ts';
import type { Pod } from '../../model/pod.ts';
import { resources } from '../../model/resource.ts';
import type { Store } from '../port.ts';
import { badRequest, notFound } from './status-error.ts';

const DEFAULT_CONTAINER = 'kubectl.kubernetes.io/default-container';

/**
 * Where a request to pods/log, exec, attach or portforward goes on: the pod's node, and the path on it with the query
 * (registry/core/pod/strategy.go LogLocation, streamLocation). Throws NotFound, and InvalidArgument when the container
 * has to be named.
 */
export function podConnection(
  store: Pick<Store, 'get'>,
  request: {
    readonly namespace: string;
    readonly name: string;
    readonly subresource: 'log' | 'exec' | 'attach' | 'portforward';
    readonly query: URLSearchParams;
  },
): { readonly node: Node; readonly path: string } {
  const { namespace, name, subresource } = request;
  const pod = store.get(resources.pods, namespace, name) as Pod | undefined;
  if (pod === undefined) throw notFound(resources.pods, name);
  const query = new URLSearchParams(request.query);
  let path = `${encodeURIComponent(namespace)}/${encodeURIComponent(name)}`;
  if (subresource === 'portforward') {
    path = `/portForward/${path}`;
  } else {
    const container = containerOf(pod, query.get('container') ?? '');
    query.delete('container');
    path = `/${subresource === 'log' ? 'containerLogs' : subresource}/${path}/${encodeURIComponent(container)}`;
  }
  if (subresource === 'exec' || subresource === 'attach') renameStreams(query);
  const nodeName = pod.spec.nodeName ?? '';
  if (nodeName === '') throw badRequest(`pod ${name} does not have a host assigned`);
  const node = store.get(resources.nodes, undefined, nodeName) as Node | undefined;
  if (node === undefined) throw notFound(resources.nodes, nodeName);
  const text = query.toString();
  return { node, path: text === '' ? path : `${path}?${text}` };
}

/** The node's API spells the streams its own way: input, output, error, tty as 1 (kubelet server.go). */
function renameStreams(query: URLSearchParams): void {
  for (const [ours, theirs] of [
    ['stdin', 'input'],
    ['stdout', 'output'],
    ['stderr', 'error'],
    ['tty', 'tty'],
  ] as const) {
    const wanted = query.get(ours);
    query.delete(ours);
    if (wanted === 'true' || wanted === '1') query.set(theirs, '1');
  }
}

function containerOf(pod: Pod, wanted: string): string {
  const { containers, initContainers = [] } = pod.spec;
  const ephemeral = (pod.spec as { ephemeralContainers?: { name: string }[] }).ephemeralContainers ?? [];
  const names = [...containers, ...initContainers, ...ephemeral].map((container) => container.name);
  const podName = pod.metadata.name ?? '';
  if (wanted !== '') {
    if (!names.includes(wanted)) throw badRequest(`container ${wanted} is not valid for pod ${podName}`);
    return wanted;
  }
  const preferred = pod.metadata.annotations?.[DEFAULT_CONTAINER];
  if (preferred !== undefined && names.includes(preferred)) return preferred;
  const [only] = containers;
  if (containers.length === 1 && only !== undefined) return only.name;
  const choices = containers.map((container) => container.name).join(' ');
  const init = initContainers.map((container) => container.name).join(' ');
  throw badRequest(
    `a container name must be specified for pod ${podName}, choose one of: [${choices}]${init === '' ? '' : ` or one of the init containers: [${init}]`}`,
  );
}
