import type { ResourceType } from '../../model/resource.ts';

/**
 * The structure of the served kinds, as a tree: `tree.rootOf(resources.pods)` is an ObjectSchema whose `fields` lead
 * to further schemas. It is written as text in `definitions/*.ts` and parsed when first asked for (`SchemaTree` in
 * schema-tree.ts; make one with `new SchemaTree()` and share it).
 *
 * How to walk it, for strategic merge patch and server-side apply:
 * - object: `fields.get(name)?.schema`; unknown names are undefined. `atomic` objects (structType=atomic) are owned and
 *   replaced as a whole by server-side apply; strategic merge still merges them.
 * - map: any key, all values of one schema. `atomic` as above.
 * - list: `patch` and `patchKey` say what strategic merge does: 'merge' with a key merges by that key, 'merge' without
 *   a key is a set of scalars that is united, 'replace' replaces. `listType` and `keys` say what server-side apply
 *   does: 'atomic' as a whole, 'set' by value, 'map' by the values of all `keys` (an absent key field has the value
 *   `fields.get(key).preset`, such as protocol TCP). The two differ: ports are merged by containerPort alone in
 *   strategic merge but are keyed by containerPort and protocol in apply.
 * - leaf: see LeafType. `{ kind: 'leaf', type: 'any' }` is free-form JSON.
 */
export type Schema = ObjectSchema | ListSchema | MapSchema | LeafSchema;

export interface ObjectSchema {
  readonly kind: 'object';
  /** The name in OpenAPI documents, such as io.k8s.api.core.v1.PodSpec. */
  readonly name: string;
  readonly fields: ReadonlyMap<string, Field>;
  readonly atomic: boolean;
  /** Strategic merge: keys absent from a patch with $retainKeys are removed (a volume's source). */
  readonly retainKeys: boolean;
}

export interface Field {
  readonly name: string;
  readonly schema: Schema;
  /** The API rejects an object without it (OpenAPI `required`). */
  readonly required: boolean;
  /** The schema's own default, where the key of a list relies on it. */
  readonly preset: string | undefined;
}

export interface ListSchema {
  readonly kind: 'list';
  readonly item: Schema;
  readonly patch: 'merge' | 'replace';
  readonly patchKey: string | undefined;
  readonly listType: 'atomic' | 'set' | 'map';
  /** Of listType 'map'; empty otherwise. */
  readonly keys: readonly string[];
}

export interface MapSchema {
  readonly kind: 'map';
  readonly value: Schema;
  readonly atomic: boolean;
}

/**
 * - time: RFC 3339 with seconds, microTime: with microseconds; both may be null in JSON
 * - bytes: base64 text
 * - quantity: text or a JSON number, intOrString: text or a whole JSON number
 * - any: any JSON; json: a JSON object of unknown structure (managedFields' fieldsV1)
 */
export type LeafType =
  | 'string'
  | 'boolean'
  | 'int32'
  | 'int64'
  | 'number'
  | 'quantity'
  | 'intOrString'
  | 'time'
  | 'microTime'
  | 'bytes'
  | 'json'
  | 'any';

export interface LeafSchema {
  readonly kind: 'leaf';
  readonly type: LeafType;
  /** Values that the API takes; undefined: any. Enforced in `structural()` only where Kubernetes closes the set. */
  readonly values: readonly string[] | undefined;
}

/** Looks schemas up; what schema-tree.ts gives. */
export interface Schemas {
  /** The schema of a served kind; undefined when the kind is not served. */
  rootOf(type: Pick<ResourceType, 'group' | 'version' | 'kind'>): ObjectSchema | undefined;
  /** By short name as used in the definitions, such as "PodSpec" or "DeleteOptions". Throws NotFound. */
  named(name: string): ObjectSchema;
  /** The schema at a path of field names, map keys and list indexes (any number stands for an item). */
  at(root: Schema, path: readonly (string | number)[]): Schema | undefined;
  /** Strategic merge: the key of a list, undefined when lists there are replaced or united by value. */
  mergeKeyOf(schema: Schema | undefined): string | undefined;
}
