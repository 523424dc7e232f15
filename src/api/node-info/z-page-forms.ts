/** How a page for people may be had by programs: as an object of a version (KEP-4827, KEP-4828). */
export interface ZPageForm {
  readonly kind: 'Statusz' | 'Flagz';
  readonly type: 'application/json' | 'application/yaml';
  readonly version: 'v1alpha1' | 'v1beta1';
}

const TYPES = ['application/json', 'application/yaml', 'text/plain'] as const;
const VERSIONS = ['v1alpha1', 'v1beta1'] as const;

/**
 * What a header Accept asks for: objects only by kind, version and group (`application/json;as=Statusz;v=v1beta1;
 * g=config.k8s.io`), everything else is text. `refused`: why it can have nothing (apiserver handlers/negotiation).
 */
export function negotiateZPage(
  accept: string | undefined,
  kind: ZPageForm['kind'],
): Omit<ZPageForm, 'kind'> | 'text' | { readonly refused: string } {
  if (accept === undefined || accept.trim() === '') return 'text';
  const clauses = accept
    .split(',')
    .map(parseClause)
    .filter(({ q }) => q > 0)
    .sort((a, b) => b.q - a.q);
  for (const { range, parameters } of clauses) {
    for (const type of TYPES) {
      const [main = ''] = type.split('/');
      if (range !== type && range !== '*/*' && range !== `${main}/*`) continue;
      const as = parameters.get('as');
      if (type === 'text/plain') {
        if (as === undefined) return 'text';
        continue;
      }
      const version = VERSIONS.find((one) => one === parameters.get('v'));
      if (as === kind && version !== undefined && parameters.get('g') === 'config.k8s.io') return { type, version };
    }
  }
  return { refused: `only the following media types are accepted: ${TYPES.join(', ')}` };
}

function parseClause(text: string): { range: string; parameters: ReadonlyMap<string, string>; q: number } {
  const [range = '', ...rest] = text.split(';').map((part) => part.trim());
  const parameters = new Map(rest.map((part) => part.split('=', 2).map((side) => side.trim()) as [string, string]));
  const q = Number(parameters.get('q') ?? 1);
  return { range: range.toLowerCase(), parameters, q: Number.isNaN(q) ? 0 : q };
}
