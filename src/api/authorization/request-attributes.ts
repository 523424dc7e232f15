/** The API verb that stands for an HTTP method; "" for those that none stands for (kubelet server/auth.go). */
export function verbOf(method: string): string {
  return VERBS.get(method) ?? '';
}

const VERBS: ReadonlyMap<string, string> = new Map([
  ['POST', 'create'],
  ['GET', 'get'],
  ['PUT', 'update'],
  ['PATCH', 'patch'],
  ['DELETE', 'delete'],
]);

/** Since KubeletFineGrainedAuthz (KEP-2862) these need not be nodes/proxy. */
const FINE: readonly (readonly [path: string, subresource: string])[] = [
  ['/pods', 'pods'],
  ['/healthz', 'healthz'],
  ['/configz', 'configz'],
  ['/runningpods', 'pods'],
];
const OWN: readonly (readonly [path: string, subresource: string])[] = [
  ['/stats', 'stats'],
  ['/metrics', 'metrics'],
  ['/logs', 'log'],
  ['/checkpoint', 'checkpoint'],
  ['/statusz', 'statusz'],
  ['/flagz', 'configz'],
];

/** The subresources of the node that open a path, in the order in which they are asked for: one is enough. */
export function subresourcesOf(path: string): readonly string[] {
  const fine = FINE.find(([root]) => isBelow(path, root))?.[1];
  const own = OWN.find(([root]) => isBelow(path, root))?.[1] ?? 'proxy';
  return fine === undefined ? [own] : [fine, own];
}

function isBelow(path: string, root: string): boolean {
  return path === root || path.startsWith(`${root}/`);
}
