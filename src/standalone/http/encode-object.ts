import type { KubeObject } from '../../model/meta.ts';
import type { ResourceType } from '../../model/resource.ts';
import { formatOf } from '../tables/object-formats.ts';
import { columnDefinitions, type IncludeObject, partialOf, rowOf } from '../tables/table.ts';
import type { Representation } from './negotiate.ts';

export interface Encoding {
  readonly as: Representation;
  readonly include: IncludeObject;
}

/** One object by itself, as JSON text. `headers: false` leaves the columns out (watches send them once). */
export function encodeObject(
  type: ResourceType,
  object: KubeObject,
  encoding: Encoding,
  now: number,
  headers = true,
): string {
  switch (encoding.as) {
    case 'object':
      return JSON.stringify(object);
    case 'metadata':
      return JSON.stringify(partialOf(object));
    case 'table': {
      const format = formatOf(type);
      return JSON.stringify({
        kind: 'Table',
        apiVersion: 'meta.k8s.io/v1',
        metadata: { resourceVersion: object.metadata.resourceVersion },
        columnDefinitions: headers ? columnDefinitions(format) : null,
        rows: [rowOf(format, object, encoding.include, now)],
      });
    }
  }
}

/** An item of a list, or a row of its table. */
export function encodeItem(type: ResourceType, object: KubeObject, encoding: Encoding, now: number): string {
  switch (encoding.as) {
    case 'object':
      return JSON.stringify(object);
    case 'metadata':
      return JSON.stringify(partialOf(object));
    case 'table':
      return JSON.stringify(rowOf(formatOf(type), object, encoding.include, now));
  }
}
