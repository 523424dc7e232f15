import { CodedError } from '../../kit/errors.ts';
import type { ResourceType } from '../../model/resource.ts';
import { metaDefinitions } from './definitions/meta.ts';
import { objectDefinitions } from './definitions/objects.ts';
import { podDefinitions } from './definitions/pod.ts';
import { storageDefinitions } from './definitions/storage.ts';
import { volumeDefinitions } from './definitions/volume.ts';
import { type Definition, findDefinitions, parseFields } from './parse-definitions.ts';
import type { ObjectSchema, Schema, Schemas } from './port.ts';

const GROUP_PREFIX: Readonly<Record<string, string>> = {
  '': 'io.k8s.api.core',
  'discovery.k8s.io': 'io.k8s.api.discovery',
  'certificates.k8s.io': 'io.k8s.api.certificates',
  'coordination.k8s.io': 'io.k8s.api.coordination',
  'scheduling.k8s.io': 'io.k8s.api.scheduling',
  'networking.k8s.io': 'io.k8s.api.networking',
  'node.k8s.io': 'io.k8s.api.node',
  'storage.k8s.io': 'io.k8s.api.storage',
  'authentication.k8s.io': 'io.k8s.api.authentication',
  policy: 'io.k8s.api.policy',
};

/** The definitions, each parsed when first asked for. */
export class SchemaTree implements Schemas {
  private readonly definitions = new Map<string, Definition>();
  private readonly parsed = new Map<string, ObjectSchema>();

  constructor() {
    for (const text of [metaDefinitions, podDefinitions, volumeDefinitions, storageDefinitions, objectDefinitions]) {
      for (const definition of findDefinitions(text)) this.definitions.set(definition.name, definition);
    }
  }

  /** Short names of all definitions, in the order written. */
  names(): IterableIterator<string> {
    return this.definitions.keys();
  }

  rootOf(type: Pick<ResourceType, 'group' | 'version' | 'kind'>): ObjectSchema | undefined {
    const definition = this.definitions.get(type.kind);
    if (definition?.fullName !== `${GROUP_PREFIX[type.group]}.${type.version}.${type.kind}`) return undefined;
    const schema = this.named(type.kind);
    return schema.fields.has('metadata') && schema.fields.has('apiVersion') ? schema : undefined;
  }

  named(name: string): ObjectSchema {
    const known = this.parsed.get(name);
    if (known !== undefined) return known;
    const definition = this.definitions.get(name);
    if (definition === undefined) throw new CodedError('NotFound', `schema: no definition is named ${name}`, { name });
    let fields: ReturnType<typeof parseFields> | undefined;
    const schema: ObjectSchema = {
      kind: 'object',
      name: definition.fullName,
      atomic: definition.flags.has('atomic'),
      retainKeys: definition.flags.has('retainKeys'),
      get fields() {
        fields ??= parseFields(definition.body, lookup);
        return fields;
      },
    };
    const lookup = (other: string): ObjectSchema => this.named(other);
    this.parsed.set(name, schema);
    return schema;
  }

  at(root: Schema, path: readonly (string | number)[]): Schema | undefined {
    let schema: Schema | undefined = root;
    for (const step of path) {
      if (schema === undefined) return undefined;
      if (schema.kind === 'object') schema = schema.fields.get(String(step))?.schema;
      else if (schema.kind === 'map') schema = schema.value;
      else if (schema.kind === 'list' && typeof step === 'number') schema = schema.item;
      else return undefined;
    }
    return schema;
  }

  mergeKeyOf(schema: Schema | undefined): string | undefined {
    return schema?.kind === 'list' && schema.patch === 'merge' ? schema.patchKey : undefined;
  }
}
