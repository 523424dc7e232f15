import { apiVersionOf } from '../../model/resource.ts';
import { type Review, type ServedResource, servedResources, servedReviews } from '../discovery/served-resources.ts';
import { badRequest, noSuchResource } from './status-error.ts';

export type Verb = 'get' | 'list' | 'watch' | 'create' | 'update' | 'patch' | 'delete' | 'deletecollection';

/** What a URL under /api/v1 or /apis/GROUP/VERSION addresses. */
export type RequestInfo =
  | {
      readonly kind: 'resource';
      readonly resource: ServedResource;
      readonly namespace: string | undefined;
      readonly name: string | undefined;
      readonly subresource: string | undefined;
    }
  | { readonly kind: 'review'; readonly review: Review; readonly namespace: string | undefined };

/**
 * Reads a path such as /api/v1/namespaces/NS/pods/NAME/log. Undefined when it is not below a group and version
 * (discovery and the like). Throws 404 for kinds that are not served, 400 for a malformed escape.
 */
export function parseRequestPath(path: string): RequestInfo | undefined {
  const parts = decodeParts(path);
  const apiVersion = parts[0] === 'api' ? parts[1] : parts[0] === 'apis' ? `${parts[1]}/${parts[2]}` : undefined;
  if (apiVersion === undefined) return undefined;
  const rest = parts.slice(parts[0] === 'api' ? 2 : 3);
  if (rest.length === 0) return undefined;
  const inNamespace = rest[0] === 'namespaces' && rest.length > 2 && !(rest.length === 3 && isOfNamespace(rest[2]));
  const namespace = inNamespace ? rest[1] : undefined;
  const [plural, name, subresource, ...extra] = inNamespace ? rest.slice(2) : rest;
  // What is below a node's proxy is a path on the node.
  const onward = plural === 'nodes' && subresource === 'proxy' && apiVersion === 'v1';
  if (extra.length > 0 && !onward) throw noSuchResource();

  const review = servedReviews.find(({ type }) => type.plural === plural && apiVersionOf(type) === apiVersion);
  if (review !== undefined && name === undefined) return { kind: 'review', review, namespace };
  const resource = servedResources.find(({ type }) => type.plural === plural && apiVersionOf(type) === apiVersion);
  if (resource === undefined) throw noSuchResource();
  if (namespace !== undefined && !resource.type.namespaced) throw noSuchResource();
  // Objects in a namespace cannot be named without it; whole collections can.
  if (resource.type.namespaced && namespace === undefined && name !== undefined) throw noSuchResource();
  if (subresource !== undefined && !resource.subresources.some((one) => one.name === subresource))
    throw noSuchResource();
  return { kind: 'resource', resource, namespace, name, subresource };
}

function isOfNamespace(part: string | undefined): boolean {
  return part === 'status' || part === 'finalize';
}

function decodeParts(path: string): string[] {
  try {
    return path
      .split('/')
      .slice(1)
      .filter((part, index, all) => part !== '' || index < all.length - 1)
      .map(decodeURIComponent);
  } catch {
    throw badRequest(`the path ${path} has a malformed percent escape`);
  }
}
