import { apiVersionOf, pathOf, type ResourceType, resources } from '../../model/resource.ts';
import type { Field, LeafType, ObjectSchema, Schema } from './port.ts';
import type { SchemaTree } from './schema-tree.ts';

type Json = Record<string, unknown>;

/** Leaves that OpenAPI documents of Kubernetes name as types of their own. */
const NAMED_LEAVES: Partial<Record<LeafType, readonly [string, Json]>> = {
  quantity: ['io.k8s.apimachinery.pkg.api.resource.Quantity', { type: 'string' }],
  intOrString: ['io.k8s.apimachinery.pkg.util.intstr.IntOrString', { type: 'string', format: 'int-or-string' }],
  time: ['io.k8s.apimachinery.pkg.apis.meta.v1.Time', { type: 'string', format: 'date-time' }],
  microTime: ['io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime', { type: 'string', format: 'date-time' }],
  json: ['io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1', { type: 'object' }],
};
const PLAIN_LEAVES: Partial<Record<LeafType, Json>> = {
  string: { type: 'string' },
  boolean: { type: 'boolean' },
  int32: { type: 'integer', format: 'int32' },
  int64: { type: 'integer', format: 'int64' },
  number: { type: 'number' },
  bytes: { type: 'string', format: 'byte' },
  any: {},
};
/** In OpenAPI v3 these two take numbers as well. */
const LOOSE_LEAVES: Partial<Record<LeafType, Json>> = {
  quantity: { oneOf: [{ type: 'string' }, { type: 'number' }] },
  intOrString: { format: 'int-or-string', oneOf: [{ type: 'integer' }, { type: 'string' }] },
};

const PATCH_TYPES = [
  'application/json-patch+json',
  'application/merge-patch+json',
  'application/strategic-merge-patch+json',
  'application/apply-patch+yaml',
];

/**
 * The OpenAPI documents of the served kinds, as far as kubectl reads them: definitions with patch strategies and list
 * types, group-version-kinds, and for each kind the operations with their query parameters (kubectl looks there for
 * fieldValidation and dryRun). Built when asked for; nothing is kept.
 */
export class OpenApiDocuments {
  private readonly schemas: SchemaTree;
  private readonly version: string;

  /** `version` is what the API says of itself, such as "v1.36.0". */
  constructor(schemas: SchemaTree, version: string) {
    this.schemas = schemas;
    this.version = version;
  }

  /** The keys of `/openapi/v3`'s `paths`: "api/v1", "apis/discovery.k8s.io/v1" … */
  groupVersions(): string[] {
    return [...new Set(Object.values(resources).map(groupVersionPath))];
  }

  /** `/openapi/v3/<groupVersion>`; undefined for one that is not served. */
  v3(groupVersion: string): Json | undefined {
    const types = Object.values(resources).filter((type) => groupVersionPath(type) === groupVersion);
    if (types.length === 0) return undefined;
    const build = new Build('#/components/schemas/', LOOSE_LEAVES);
    const paths: Json = {};
    for (const type of types) this.addPaths(paths, type, build, operationV3);
    return { openapi: '3.0.0', info: this.info(), paths, components: { schemas: build.finish() } };
  }

  /** `/openapi/v2`, in JSON. */
  v2(): Json {
    const build = new Build('#/definitions/', {});
    const paths: Json = {};
    for (const type of Object.values(resources)) this.addPaths(paths, type, build, operationV2);
    return { swagger: '2.0', info: this.info(), paths, definitions: build.finish() };
  }

  private info(): Json {
    return { title: 'deckhand', version: this.version };
  }

  private addPaths(paths: Json, type: ResourceType, build: Build, operation: MakeOperation): void {
    const root = this.schemas.rootOf(type);
    if (root === undefined) return;
    build.addRoot(root, type, this.schemas.named('ListMeta'));
    const namespace = type.namespaced ? '{namespace}' : undefined;
    const collection = decodeURIComponent(pathOf(type, { namespace }));
    const item = decodeURIComponent(pathOf(type, { namespace, name: '{name}' }));
    const ref = build.ref(root);
    const listRef = { $ref: `${build.prefix}${root.name}List` };
    paths[collection] = {
      get: operation('list', type, listRef, ['labelSelector', 'fieldSelector', 'limit', 'continue', 'watch']),
      post: operation('post', type, ref, WRITE_PARAMETERS),
    };
    paths[item] = {
      get: operation('get', type, ref, []),
      put: operation('put', type, ref, WRITE_PARAMETERS),
      patch: operation('patch', type, ref, [...WRITE_PARAMETERS, 'force']),
      delete: operation('delete', type, ref, ['dryRun', 'gracePeriodSeconds', 'propagationPolicy']),
    };
  }
}

const WRITE_PARAMETERS = ['dryRun', 'fieldManager', 'fieldValidation'];

type MakeOperation = (action: string, type: ResourceType, body: Json, parameters: readonly string[]) => Json;

const operationV3: MakeOperation = (action, type, body, parameters) => {
  const withBody = action === 'post' || action === 'put' || action === 'patch';
  const types = action === 'patch' ? PATCH_TYPES : ['application/json', 'application/yaml'];
  const patchBody = { $ref: '#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.Patch' };
  const schema = action === 'patch' ? patchBody : body;
  return {
    'x-kubernetes-action': action,
    'x-kubernetes-group-version-kind': gvkOf(type),
    parameters: parameters.map((name) => ({ name, in: 'query', schema: { type: 'string', uniqueItems: true } })),
    ...(withBody ? { requestBody: { content: Object.fromEntries(types.map((mime) => [mime, { schema }])) } } : {}),
    responses: { 200: { description: 'OK', content: { 'application/json': { schema: body } } } },
  };
};

const operationV2: MakeOperation = (action, type, body, parameters) => ({
  'x-kubernetes-action': action,
  'x-kubernetes-group-version-kind': gvkOf(type),
  consumes: action === 'patch' ? PATCH_TYPES : ['application/json'],
  produces: ['application/json'],
  parameters: parameters.map((name) => ({ name, in: 'query', type: 'string', uniqueItems: true })),
  responses: { 200: { description: 'OK', schema: body } },
});

function gvkOf(type: ResourceType): Json {
  return { group: type.group, version: type.version, kind: type.kind };
}

function groupVersionPath(type: ResourceType): string {
  return type.group === '' ? `api/${type.version}` : `apis/${apiVersionOf(type)}`;
}

/** Collects each definition once, however many refer to it. */
class Build {
  readonly prefix: string;
  private readonly loose: Partial<Record<LeafType, Json>>;
  private readonly definitions: Json = {};

  constructor(prefix: string, loose: Partial<Record<LeafType, Json>>) {
    this.prefix = prefix;
    this.loose = loose;
  }

  finish(): Json {
    this.definitions['io.k8s.apimachinery.pkg.apis.meta.v1.Patch'] = { type: 'object' };
    return this.definitions;
  }

  addRoot(root: ObjectSchema, type: ResourceType, listMeta: ObjectSchema): void {
    this.ref(root);
    const definition = this.definitions[root.name] as Json;
    definition['x-kubernetes-group-version-kind'] = [gvkOf(type)];
    this.definitions[`${root.name}List`] = {
      type: 'object',
      required: ['items'],
      properties: {
        apiVersion: { type: 'string' },
        kind: { type: 'string' },
        metadata: this.ref(listMeta),
        items: { type: 'array', items: this.ref(root) },
      },
      'x-kubernetes-group-version-kind': [{ ...gvkOf(type), kind: `${type.kind}List` }],
    };
  }

  /** A reference to an object's definition, which is added on its first use. */
  ref(schema: ObjectSchema): Json {
    if (!Object.hasOwn(this.definitions, schema.name)) {
      const definition: Json = { type: 'object' };
      this.definitions[schema.name] = definition;
      const fields = [...schema.fields.values()];
      const required = fields.filter((field) => field.required).map(({ name }) => name);
      if (required.length > 0) definition['required'] = required;
      definition['properties'] = Object.fromEntries(fields.map((field) => [field.name, this.property(field)]));
      if (schema.atomic) definition['x-kubernetes-map-type'] = 'atomic';
    }
    return { $ref: `${this.prefix}${schema.name}` };
  }

  private property(field: Field): Json {
    const json = this.json(field.schema);
    if (field.preset !== undefined && json['$ref'] === undefined) json['default'] = field.preset;
    return json;
  }

  private json(schema: Schema): Json {
    switch (schema.kind) {
      case 'object':
        return this.ref(schema);
      case 'map':
        return {
          type: 'object',
          additionalProperties: this.json(schema.value),
          ...(schema.atomic ? { 'x-kubernetes-map-type': 'atomic' } : {}),
        };
      case 'list': {
        const retain = schema.item.kind === 'object' && schema.item.retainKeys;
        return {
          type: 'array',
          items: this.json(schema.item),
          'x-kubernetes-list-type': schema.listType,
          ...(schema.keys.length > 0 ? { 'x-kubernetes-list-map-keys': [...schema.keys] } : {}),
          ...(schema.patch === 'merge' ? { 'x-kubernetes-patch-strategy': retain ? 'merge,retainKeys' : 'merge' } : {}),
          ...(schema.patchKey === undefined ? {} : { 'x-kubernetes-patch-merge-key': schema.patchKey }),
        };
      }
      case 'leaf': {
        const named = NAMED_LEAVES[schema.type];
        if (named === undefined) return { ...PLAIN_LEAVES[schema.type] };
        const [name, definition] = named;
        this.definitions[name] ??= this.loose[schema.type] ?? definition;
        return { $ref: `${this.prefix}${name}` };
      }
    }
  }
}
