import type { Node } from '../../model/node.ts';
import { resources } from '../../model/resource.ts';
import type { Store } from '../port.ts';
import { badRequest, notFound } from './status-error.ts';

const KUBELET_PORT = 10_250;

/**
 * Where a request to nodes/NAME/proxy/PATH goes on: the node and the path on it with the query as it was written, and what
 * of the path is this server's own (registry/core/node/rest/rest.go). NAME may be "https:NAME:PORT", but only the node's
 * API is gone on to. Throws NotFound, and InvalidArgument for other ports.
 */
export function nodeConnection(
  store: Pick<Store, 'get'>,
  request: { readonly name: string; readonly url: string },
): { readonly node: Node; readonly path: string; readonly prefix: string } {
  const { name, url } = request;
  const {
    scheme = '',
    own = '',
    port = '',
  } = /^(?:(?<scheme>https?):(?=.*:))?(?<own>[^:]+)(?::(?<port>[^:]*))?$/.exec(name)?.groups ?? {};
  const node = store.get(resources.nodes, undefined, own) as Node | undefined;
  if (node === undefined) throw notFound(resources.nodes, name);
  const known = node.status?.daemonEndpoints?.kubeletEndpoint?.Port || KUBELET_PORT;
  if (scheme === 'http' || (port !== '' && port !== String(known))) {
    throw badRequest(`only the API of node "${own}" can be reached, https on port ${known}; not ${name}`);
  }
  const [, prefix = '', rest = ''] = /^(\/api\/v1\/nodes\/[^/?]+\/proxy)(.*)$/s.exec(url) ?? [];
  return { node, path: rest.startsWith('/') ? rest : `/${rest}`, prefix };
}
