import type { KubeObject } from '../../model/meta.ts';

/** A column as kubectl shows it; those with a priority above 0 come with `-o wide`. */
export interface Column {
  readonly name: string;
  readonly type: 'string' | 'integer' | 'boolean';
  readonly format?: 'name';
  readonly priority?: number;
}

export type Cell = string | number | boolean;

/** How objects of one kind become rows: columns, and the cells of an object at a time (ms since the epoch). */
export interface TableFormat {
  readonly columns: readonly Column[];
  cells(object: KubeObject, now: number): Cell[];
}

export interface Row {
  readonly cells: readonly Cell[];
  readonly object?: unknown;
}

/** What a row carries of its object (the `includeObject` parameter). */
export type IncludeObject = 'None' | 'Metadata' | 'Object';

export function rowOf(format: TableFormat, object: KubeObject, include: IncludeObject, now: number): Row {
  const cells = format.cells(object, now);
  if (include === 'None') return { cells };
  return { cells, object: include === 'Object' ? object : partialOf(object) };
}

/** PartialObjectMetadata of an object. */
export function partialOf(object: KubeObject): unknown {
  return { kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1', metadata: object.metadata };
}

/** Column definitions in the words of metav1.Table. */
export function columnDefinitions(format: TableFormat): unknown[] {
  return format.columns.map(({ name, type, format: shape = '', priority = 0 }) => ({
    name,
    type,
    format: shape,
    description: '',
    priority,
  }));
}

export const NONE = '<none>';
export const UNKNOWN = '<unknown>';
