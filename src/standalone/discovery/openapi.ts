import { createHash } from 'node:crypto';
import { apiVersionOf, type ResourceType } from '../../model/resource.ts';
import type { LeafType, ObjectSchema, Schema, Schemas } from '../schema/port.ts';
import { servedApiVersions } from './discovery-documents.ts';
import { servedIn } from './served-resources.ts';

type Json = Record<string, unknown>;

const LEAVES: Readonly<Record<LeafType, Json>> = {
  string: { type: 'string' },
  boolean: { type: 'boolean' },
  int32: { type: 'integer', format: 'int32' },
  int64: { type: 'integer', format: 'int64' },
  number: { type: 'number', format: 'double' },
  quantity: { type: 'string' },
  intOrString: { type: 'string', format: 'int-or-string' },
  time: { type: 'string', format: 'date-time' },
  microTime: { type: 'string', format: 'date-time' },
  bytes: { type: 'string', format: 'byte' },
  json: { type: 'object' },
  any: {},
};
const PATCH_TYPES = [
  'application/apply-patch+yaml',
  'application/json-patch+json',
  'application/merge-patch+json',
  'application/strategic-merge-patch+json',
];
const GVK = 'x-kubernetes-group-version-kind';

/** GET /openapi/v3: where the document of each group and version is; the hash lets clients keep it. */
export function openApiIndex(build: string): unknown {
  const paths: Record<string, Json> = {};
  for (const apiVersion of servedApiVersions()) {
    const path = pathOf(apiVersion);
    const hash = createHash('sha256').update(`${build} ${apiVersion}`).digest('hex').slice(0, 32).toUpperCase();
    paths[path] = { serverRelativeURL: `/openapi/v3/${path}?hash=${hash}` };
  }
  return { paths };
}

/** GET /openapi/v3/api/v1 and /openapi/v3/apis/GROUP/v1; undefined when that is not served. */
export function openApiV3(schemas: Schemas, path: string, version: string): unknown {
  const apiVersion = servedApiVersions().find((candidate) => pathOf(candidate) === path);
  if (apiVersion === undefined) return undefined;
  const components = new Map<string, Json>();
  const paths: Record<string, Json> = {};
  for (const { type } of servedIn(apiVersion).stored) {
    const root = schemas.rootOf(type);
    if (root === undefined) continue;
    describe(root, components, '#/components/schemas/');
    const own = components.get(root.name);
    if (own !== undefined) own[GVK] = [gvkOf(type)];
    Object.assign(paths, pathsOf(type, `#/components/schemas/${root.name}`));
  }
  return {
    openapi: '3.0.0',
    info: { title: 'Kubernetes', version },
    paths,
    components: { schemas: Object.fromEntries(components) },
  };
}

/** GET /openapi/v2 as JSON: the same definitions in the older notation. */
export function openApiV2(schemas: Schemas, version: string): unknown {
  const definitions = new Map<string, Json>();
  for (const apiVersion of servedApiVersions()) {
    for (const { type } of servedIn(apiVersion).stored) {
      const root = schemas.rootOf(type);
      if (root === undefined) continue;
      describe(root, definitions, '#/definitions/');
      const own = definitions.get(root.name);
      if (own !== undefined) own[GVK] = [gvkOf(type)];
    }
  }
  return {
    swagger: '2.0',
    info: { title: 'Kubernetes', version },
    paths: {},
    definitions: Object.fromEntries(definitions),
  };
}

/**
 * GET /openapi/v2 as kubectl before 1.27 wants it: a gnostic Document in protobuf. It has a version and no definitions,
 * which such a kubectl takes for "nothing to check against".
 */
export function openApiV2Protobuf(version: string): Buffer {
  const field = (number: number, data: Buffer): Buffer =>
    Buffer.concat([Buffer.from([(number << 3) | 2, data.length]), data]);
  const info = Buffer.concat([field(1, Buffer.from('Kubernetes')), field(2, Buffer.from(version))]);
  return Buffer.concat([field(1, Buffer.from('2.0')), field(2, info), field(8, Buffer.alloc(0))]);
}

function pathOf(apiVersion: string): string {
  return apiVersion === 'v1' ? 'api/v1' : `apis/${apiVersion}`;
}

function gvkOf(type: ResourceType): Json {
  return { group: type.group, kind: type.kind, version: type.version };
}

function describe(schema: ObjectSchema, into: Map<string, Json>, prefix: string): void {
  if (into.has(schema.name)) return;
  const own: Json = { type: 'object' };
  // Before its fields: types may contain themselves.
  into.set(schema.name, own);
  const properties: Record<string, Json> = {};
  const required: string[] = [];
  for (const [name, field] of schema.fields) {
    properties[name] = property(field.schema, into, prefix);
    if (field.preset !== undefined && properties[name]['$ref'] === undefined)
      properties[name]['default'] = field.preset;
    if (field.required) required.push(name);
  }
  if (Object.keys(properties).length > 0) own['properties'] = properties;
  if (required.length > 0) own['required'] = required;
  if (schema.atomic) own['x-kubernetes-map-type'] = 'atomic';
}

function property(schema: Schema, into: Map<string, Json>, prefix: string): Json {
  switch (schema.kind) {
    case 'leaf':
      return { ...LEAVES[schema.type], ...(schema.values === undefined ? {} : { enum: schema.values }) };
    case 'map':
      return {
        type: 'object',
        additionalProperties: property(schema.value, into, prefix),
        ...(schema.atomic ? { 'x-kubernetes-map-type': 'atomic' } : {}),
      };
    case 'list':
      return {
        type: 'array',
        items: property(schema.item, into, prefix),
        'x-kubernetes-list-type': schema.listType,
        ...(schema.keys.length === 0 ? {} : { 'x-kubernetes-list-map-keys': schema.keys }),
        ...(schema.patch === 'merge' ? { 'x-kubernetes-patch-strategy': 'merge' } : {}),
        ...(schema.patchKey === undefined ? {} : { 'x-kubernetes-patch-merge-key': schema.patchKey }),
      };
    case 'object': {
      describe(schema, into, prefix);
      const reference = `${prefix}${schema.name}`;
      // kubectl reads the patch strategy beside the reference; older readers ignore what stands next to $ref.
      if (schema.retainKeys) return { allOf: [{ $ref: reference }], 'x-kubernetes-patch-strategy': 'retainKeys' };
      return prefix.includes('components') ? { allOf: [{ $ref: reference }], default: {} } : { $ref: reference };
    }
  }
}

function pathsOf(type: ResourceType, reference: string): Record<string, Json> {
  const base = type.group === '' ? '/api/v1' : `/apis/${apiVersionOf(type)}`;
  const collection = `${base}${type.namespaced ? '/namespaces/{namespace}' : ''}/${type.plural}`;
  const gvk = { [GVK]: gvkOf(type) };
  const content = { 'application/json': { schema: { $ref: reference } } };
  const responses = { 200: { description: 'OK', content } };
  const parameter = (name: string): Json => ({ name, in: 'query', schema: { type: 'string', uniqueItems: true } });
  const writing = ['dryRun', 'fieldManager', 'fieldValidation'].map(parameter);
  const patchContent = Object.fromEntries(PATCH_TYPES.map((one) => [one, { schema: { type: 'object' } }]));
  const operation = (action: string, extra: Json): Json => ({
    ...extra,
    responses,
    'x-kubernetes-action': action,
    ...gvk,
  });
  return {
    [collection]: {
      get: operation('list', {}),
      post: operation('post', { parameters: writing, requestBody: { required: true, content } }),
    },
    [`${collection}/{name}`]: {
      get: operation('get', {}),
      put: operation('put', { parameters: writing, requestBody: { required: true, content } }),
      patch: operation('patch', {
        parameters: [...writing, parameter('force')],
        requestBody: { required: true, content: patchContent },
      }),
      delete: operation('delete', { parameters: [parameter('dryRun')] }),
    },
  };
}
