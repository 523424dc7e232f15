import { notAcceptable } from './status-error.ts';

/** How objects are to be shown: whole, as rows of a table, or their metadata alone (KEP-1904, "API concepts"). */
export type Representation = 'object' | 'table' | 'metadata';

interface MediaType {
  readonly type: string;
  readonly parameters: Readonly<Record<string, string>>;
}

export function parseAccept(accept: string | undefined): MediaType[] {
  if (accept === undefined || accept.trim() === '') return [{ type: '*/*', parameters: {} }];
  return accept.split(',').map((part) => {
    const [type = '', ...rest] = part.split(';').map((piece) => piece.trim());
    const parameters: Record<string, string> = {};
    for (const piece of rest) {
      const [name = '', value = ''] = piece.split('=');
      parameters[name] = value.replace(/^"|"$/g, '');
    }
    return { type: type.toLowerCase(), parameters };
  });
}

export function isJson(type: string): boolean {
  return type === 'application/json' || type === 'application/*' || type === '*/*';
}

/** The first representation in the order of Accept that this server has. Throws 406. */
export function negotiate(accept: string | undefined, table: boolean): Representation {
  for (const { type, parameters } of parseAccept(accept)) {
    if (!isJson(type)) continue;
    const { as } = parameters;
    if (as === undefined) return 'object';
    if (parameters['g'] !== 'meta.k8s.io' || (parameters['v'] !== 'v1' && parameters['v'] !== 'v1beta1')) continue;
    if (as === 'Table' && table && parameters['v'] === 'v1') return 'table';
    if (as === 'PartialObjectMetadata' || as === 'PartialObjectMetadataList') return 'metadata';
  }
  throw notAcceptable();
}
