import type { Clock } from '../../kit/clock.ts';
import { hasCode } from '../../kit/errors.ts';
import type { KubeObject, ObjectMeta } from '../../model/meta.ts';
import { apiVersionOf, type ResourceType, resources } from '../../model/resource.ts';
import { rfc3339 } from '../../model/time.ts';
import { hasStatus, type ServedResource } from '../discovery/served-resources.ts';
import { jsonMergePatch } from '../patch/json-merge-patch.ts';
import { jsonPatch } from '../patch/json-patch.ts';
import { isObject, type JsonObject } from '../patch/json-value.ts';
import { serverSideApply, trackUpdate, type Writer } from '../patch/server-side-apply.ts';
import { strategicMergePatch } from '../patch/strategic-merge-patch.ts';
import type { Admission } from '../port.ts';
import type { Schemas } from '../schema/port.ts';
import { isUnknownField } from '../schema/structural-errors.ts';
import type { WalStore } from '../store/wal-store.ts';
import { goesWithUpdate, planDeletion } from './deletion.ts';
import { prepareForCreate, prepareForUpdate, withQosClass } from './prepare-object.ts';
import { badRequest, conflict, forbidden, invalid, notFound, StatusError } from './status-error.ts';
import type { WriteOptions } from './write-options.ts';

export interface Target {
  readonly resource: ServedResource;
  readonly namespace: string | undefined;
  readonly name: string;
  readonly subresource?: string | undefined;
}

export type Patch = { readonly type: 'json' | 'merge' | 'strategic' | 'apply'; readonly value: unknown };

export interface Written {
  readonly object: KubeObject;
  readonly created: boolean;
  /** For Warning headers. */
  readonly warnings: readonly string[];
}

export interface DeleteOptions {
  readonly gracePeriodSeconds?: number | undefined;
  readonly uid?: string | undefined;
  readonly resourceVersion?: string | undefined;
  readonly dryRun: boolean;
}

export interface Deleted {
  readonly object: KubeObject;
  /** False while finalizers or a grace period hold it. */
  readonly gone: boolean;
}

export interface ResourceOperationsDeps {
  readonly store: WalStore;
  readonly admission: Admission;
  readonly schemas: Schemas;
  readonly clock: Clock;
  /** 0 ≤ n < 1, for generated names. */
  readonly random: () => number;
}

// Without vowels and without 0, 1 and 3, so that no words come out (apimachinery util/rand).
const NAME_LETTERS = 'bcdfghjklmnpqrstvwxz2456789';
const GENERATED_LENGTH = 5;
const GENERATED_PREFIX_MAX = 63 - GENERATED_LENGTH;
const GENERATE_ATTEMPTS = 8;

/**
 * What the verbs do to objects, whoever asks: admission in its order, subresources, ownership, deletion with grace and
 * finalizers. From reading an object to handing the change to the store nothing waits, so that no other write comes
 * in between.
 */
export class ResourceOperations {
  private readonly deps: ResourceOperationsDeps;

  constructor(deps: ResourceOperationsDeps) {
    this.deps = deps;
  }

  /** Throws AlreadyExists, InvalidObject, NotFound (namespace), Forbidden (namespace that goes away). */
  async create(
    resource: ServedResource,
    namespace: string | undefined,
    body: unknown,
    options: WriteOptions,
  ): Promise<Written> {
    const { type } = resource;
    const warnings: string[] = [];
    let object = this.decode(type, namespace, body, options, warnings);
    if ((object.metadata.resourceVersion ?? '') !== '') {
      throw badRequest('resourceVersion should not be set on objects to be created');
    }
    object = prepareForCreate(resource, object, options.identity);
    const { managedFields: _theirs, ...metadata } = object.metadata;
    return await this.insert(resource, { ...object, metadata }, options, warnings);
  }

  /** Throws NotFound, Conflict, InvalidObject. */
  async update(target: Target, body: unknown, options: WriteOptions): Promise<Written> {
    const { resource, namespace, name } = target;
    const warnings: string[] = [];
    const object = this.decode(resource.type, namespace, body, options, warnings);
    if (object.metadata.name !== undefined && object.metadata.name !== name) {
      throw badRequest(`the name of the object (${object.metadata.name}) does not match the name on the URL (${name})`);
    }
    return await this.replace(target, this.existing(target), object, options, warnings, true);
  }

  /** Throws NotFound (but apply creates), Conflict, InvalidArgument, InvalidObject. */
  async patch(target: Target, patch: Patch, options: WriteOptions): Promise<Written> {
    if (patch.type === 'apply') return await this.apply(target, patch.value, options);
    const { type } = target.resource;
    const current = this.existing(target);
    const changed = this.patched(type, current, patch);
    if (!isObject(changed) || !isObject(changed['metadata'])) {
      throw badRequest(`the patch leaves nothing that is a ${type.kind}`);
    }
    const warnings: string[] = [];
    const object = this.decode(type, target.namespace, changed, options, warnings);
    if (object.metadata.name !== target.name) throw badRequest('the name of an object cannot be changed');
    return await this.replace(target, current, object, options, warnings, true);
  }

  /** Throws NotFound, and Conflict when a precondition does not hold. */
  async delete(target: Target, options: DeleteOptions): Promise<Deleted> {
    const { resource, namespace, name } = target;
    const { type } = resource;
    const { store, clock } = this.deps;
    const current = this.existing(target);
    const { uid, resourceVersion } = current.metadata;
    if (options.uid !== undefined && options.uid !== uid) {
      throw conflict(
        type,
        name,
        `Precondition failed: UID in precondition: ${options.uid}, UID in object meta: ${uid}`,
      );
    }
    if (options.resourceVersion !== undefined && options.resourceVersion !== resourceVersion) {
      throw conflict(
        type,
        name,
        `Precondition failed: ResourceVersion in precondition: ${options.resourceVersion}, ResourceVersion in object meta: ${resourceVersion}`,
      );
    }
    const plan = planDeletion(type, current, options.gracePeriodSeconds, clock.now());
    switch (plan.step) {
      case 'nothing':
        return { object: current, gone: false };
      case 'mark':
        return { object: options.dryRun ? plan.object : await store.update(type, plan.object), gone: false };
      case 'remove':
        return { object: options.dryRun ? current : await store.remove(type, namespace, name), gone: true };
    }
  }

  /** The object of a request, or 404. */
  existing({ resource, namespace, name }: Target): KubeObject {
    const object = this.deps.store.get(resource.type, namespace, name);
    if (object === undefined) throw notFound(resource.type, name);
    return object;
  }

  private async insert(
    resource: ServedResource,
    prepared: KubeObject,
    options: WriteOptions,
    warnings: readonly string[],
  ): Promise<Written> {
    const { type } = resource;
    const { store, admission, clock } = this.deps;
    this.checkNamespace(type, prepared.metadata);
    for (let attempt = 1; ; attempt++) {
      let object = this.withName(prepared);
      object = withQosClass(resource, admission.defaults(type, object));
      this.validate(type, object, undefined);
      if (options.dryRun) {
        if (store.get(type, object.metadata.namespace, object.metadata.name ?? '') !== undefined) {
          throw alreadyExists(type, object.metadata.name ?? '');
        }
        const metadata = { ...object.metadata, uid: crypto.randomUUID(), creationTimestamp: rfc3339(clock.now()) };
        return { object: { ...object, metadata }, created: true, warnings };
      }
      try {
        const stored = await store.create(type, admission.allocate(type, object, undefined));
        return { object: stored, created: true, warnings };
      } catch (error) {
        const generated = prepared.metadata.name === undefined || prepared.metadata.name === '';
        if (!hasCode(error, 'AlreadyExists') || error instanceof StatusError) throw error;
        if (!generated || attempt >= GENERATE_ATTEMPTS) throw alreadyExists(type, object.metadata.name ?? '');
      }
    }
  }

  private async replace(
    target: Target,
    current: KubeObject,
    next: KubeObject,
    options: WriteOptions,
    warnings: readonly string[],
    track: boolean,
  ): Promise<Written> {
    const { resource, namespace, name, subresource } = target;
    const { type } = resource;
    const { store, admission, schemas } = this.deps;
    const { uid, resourceVersion } = next.metadata;
    if (uid !== undefined && uid !== '' && uid !== current.metadata.uid) {
      throw conflict(
        type,
        name,
        `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${current.metadata.uid}`,
      );
    }
    if (
      resourceVersion !== undefined &&
      resourceVersion !== '' &&
      resourceVersion !== current.metadata.resourceVersion
    ) {
      throw conflict(
        type,
        name,
        'the object has been modified; please apply your changes to the latest version and try again',
      );
    }
    const named = { ...next, metadata: { ...next.metadata, name, ...(namespace === undefined ? {} : { namespace }) } };
    let object = prepareForUpdate(resource, current, named, subresource, this.deps.clock.now());
    object = admission.defaults(type, object);
    if (track) {
      const schema = schemas.rootOf(type);
      const writer = this.writer(target, options);
      object = trackUpdate(
        asJson(current),
        asJson(object),
        schema,
        writer,
        unowned(resource, subresource),
      ) as unknown as KubeObject;
    }
    this.validate(type, object, current, subresource);
    if (options.dryRun) return { object, created: false, warnings };
    object = admission.allocate(type, object, current);
    const { resourceVersion: _checked, ...metadata } = object.metadata;
    object = { ...object, metadata };
    if (goesWithUpdate(type, object)) {
      await store.remove(type, namespace, name);
      return { object, created: false, warnings };
    }
    return { object: await store.update(type, object), created: false, warnings };
  }

  private async apply(target: Target, value: unknown, options: WriteOptions): Promise<Written> {
    const { resource, namespace, name, subresource } = target;
    const { type } = resource;
    const { store, schemas } = this.deps;
    const warnings: string[] = [];
    const config = this.decode(type, namespace, value, options, warnings);
    if (config.metadata.name !== undefined && config.metadata.name !== name) {
      throw badRequest(`the name of the object (${config.metadata.name}) does not match the name on the URL (${name})`);
    }
    if (config.metadata.managedFields !== undefined) throw badRequest('metadata.managedFields must be nil');
    const live = store.get(type, namespace, name);
    const wanted = config.metadata.resourceVersion;
    if (wanted !== undefined && wanted !== '' && wanted !== live?.metadata.resourceVersion) {
      throw conflict(
        type,
        name,
        'the object has been modified; please apply your changes to the latest version and try again',
      );
    }
    if (live === undefined && subresource !== undefined) throw notFound(type, name);
    const hidden = unowned(resource, subresource);
    const schema = schemas.rootOf(type);
    const applied = withoutPaths(asJson(config), hidden);
    const result = serverSideApply(
      live === undefined ? undefined : asJson(live),
      applied,
      schema,
      this.writer(target, options),
      {
        force: options.force,
        unowned: hidden,
      },
    );
    if (result.conflicts !== undefined) throw applyConflict(type, name, result.conflicts);
    const object = result.object as unknown as KubeObject;
    if (live === undefined) {
      const { managedFields } = object.metadata;
      const prepared = prepareForCreate(resource, {
        ...object,
        metadata: { ...object.metadata, name, ...(namespace === undefined ? {} : { namespace }) },
      });
      const metadata = { ...prepared.metadata, ...(managedFields === undefined ? {} : { managedFields }) };
      return await this.insert(resource, { ...prepared, metadata }, options, warnings);
    }
    const { resourceVersion: _checked, ...metadata } = object.metadata;
    return await this.replace(target, live, { ...object, metadata }, options, warnings, false);
  }

  private patched(type: ResourceType, current: KubeObject, patch: Patch): unknown {
    try {
      switch (patch.type) {
        case 'json':
          return jsonPatch(current, patch.value);
        case 'merge':
          if (!isObject(patch.value)) throw badRequest('a merge patch must be an object');
          return jsonMergePatch(current, patch.value);
        default:
          return strategicMergePatch(current, patch.value, this.deps.schemas.rootOf(type));
      }
    } catch (error) {
      if (error instanceof StatusError || !hasCode(error, 'InvalidObject')) throw error;
      const message = `the server rejected our request due to an error in our request: ${(error as Error).message}`;
      throw new StatusError('InvalidObject', 422, 'Invalid', message, {
        name: current.metadata.name ?? '',
        kind: type.plural,
      });
    }
  }

  /** Checks what the body says it is, and its structure; unknown fields are an error, a warning or nothing. */
  private decode(
    type: ResourceType,
    namespace: string | undefined,
    body: unknown,
    { fieldValidation }: WriteOptions,
    warnings: string[],
  ): KubeObject {
    if (!isObject(body))
      throw badRequest(`the body must be a ${type.kind}, but it is ${body === undefined ? 'empty' : 'no object'}`);
    const apiVersion = apiVersionOf(type);
    const said = { apiVersion: body['apiVersion'] ?? apiVersion, kind: body['kind'] ?? type.kind };
    if (said.apiVersion !== apiVersion) {
      throw badRequest(
        `the API version in the data (${said.apiVersion}) does not match the expected API version (${apiVersion})`,
      );
    }
    if (said.kind !== type.kind) {
      throw badRequest(`the kind in the data (${said.kind}) does not match the expected kind (${type.kind})`);
    }
    const errors = this.deps.admission.structural(type, body);
    const wrong = errors.filter((error) => !isUnknownField(error));
    if (wrong.length > 0) {
      const list = wrong.map(({ field, message }) => `${field}: ${message}`).join(', ');
      throw new StatusError(
        'InvalidArgument',
        400,
        'BadRequest',
        `${type.kind} in version "${type.version}" cannot be handled as a ${type.kind}: ${list}`,
        { kind: type.kind, causes: wrong.map(({ field, reason, message }) => ({ reason, message, field })) },
      );
    }
    if (errors.length > 0 && fieldValidation === 'Strict') {
      const list = errors.map(({ message }) => message).join(', ');
      throw badRequest(
        `${type.kind} in version "${type.version}" cannot be handled as a ${type.kind}: strict decoding error: ${list}`,
      );
    }
    if (fieldValidation === 'Warn') warnings.push(...errors.map(({ message }) => message));
    const metadata: ObjectMeta = isObject(body['metadata']) ? body['metadata'] : {};
    if (!type.namespaced) {
      const { namespace: _none, ...rest } = metadata;
      return { ...body, ...said, metadata: rest } as KubeObject;
    }
    const inBody = metadata.namespace ?? '';
    if (inBody !== '' && inBody !== namespace) {
      throw badRequest('the namespace of the provided object does not match the namespace sent on the request');
    }
    return { ...body, ...said, metadata: { ...metadata, namespace: namespace ?? '' } } as KubeObject;
  }

  private validate(
    type: ResourceType,
    object: KubeObject,
    previous: KubeObject | undefined,
    subresource?: string,
  ): void {
    const errors = this.deps.admission.validate(type, object, previous, subresource);
    if (errors.length > 0) throw invalid(type, object.metadata.name ?? '', errors);
  }

  private withName(object: KubeObject): KubeObject {
    const { name, generateName } = object.metadata;
    if ((name !== undefined && name !== '') || generateName === undefined || generateName === '') return object;
    let suffix = '';
    for (let i = 0; i < GENERATED_LENGTH; i++) {
      suffix += NAME_LETTERS[Math.floor(this.deps.random() * NAME_LETTERS.length)];
    }
    return {
      ...object,
      metadata: { ...object.metadata, name: `${generateName.slice(0, GENERATED_PREFIX_MAX)}${suffix}` },
    };
  }

  /** New content needs a namespace that is there to stay (admission/plugin/namespace/lifecycle). */
  private checkNamespace(type: ResourceType, { namespace, name }: ObjectMeta): void {
    if (!type.namespaced) return;
    if (namespace === undefined || namespace === '')
      throw badRequest(`an object of kind ${type.kind} needs a namespace`);
    const found = this.deps.store.get(resources.namespaces, undefined, namespace);
    if (found === undefined) throw notFound(resources.namespaces, namespace);
    if (found.metadata.deletionTimestamp === undefined) return;
    throw forbidden(
      type,
      name ?? '',
      `unable to create new content in namespace ${namespace} because it is being terminated`,
      [
        {
          reason: 'NamespaceTerminating',
          message: `namespace ${namespace} is being terminated`,
          field: 'metadata.namespace',
        },
      ],
    );
  }

  private writer({ resource, subresource }: Target, { fieldManager }: WriteOptions): Writer {
    return {
      manager: fieldManager,
      apiVersion: apiVersionOf(resource.type),
      subresource: subresource ?? '',
      time: rfc3339(this.deps.clock.now()),
    };
  }
}

function alreadyExists(type: ResourceType, name: string): StatusError {
  const qualified = type.group === '' ? type.plural : `${type.plural}.${type.group}`;
  return new StatusError('AlreadyExists', 409, 'AlreadyExists', `${qualified} "${name}" already exists`, {
    name,
    ...(type.group === '' ? {} : { group: type.group }),
    kind: type.plural,
  });
}

/** Field paths that a write through this door does not touch (GetResetFields of the strategies). */
function unowned(resource: ServedResource, subresource: string | undefined): readonly (readonly string[])[] {
  if (subresource === 'status') return [['f:spec'], ['f:metadata', 'f:ownerReferences']];
  return hasStatus(resource) ? [['f:status']] : [];
}

function withoutPaths(object: JsonObject, paths: readonly (readonly string[])[]): JsonObject {
  let result = object;
  for (const [first = '', second] of paths) {
    const key = first.slice(2);
    const value = result[key];
    const { [key]: _dropped, ...rest } = result;
    if (second === undefined) {
      result = rest;
    } else if (isObject(value)) {
      const { [second.slice(2)]: _inner, ...kept } = value;
      result = { ...rest, [key]: kept };
    }
  }
  return result;
}

function applyConflict(
  type: ResourceType,
  name: string,
  conflicts: readonly {
    readonly manager: string;
    readonly apiVersion: string;
    readonly subresource: string;
    readonly field: string;
  }[],
): StatusError {
  const fieldsBy = new Map<string, string[]>();
  for (const { manager, apiVersion, subresource, field } of conflicts) {
    const who = `${JSON.stringify(manager)}${subresource === '' ? '' : ` with subresource ${JSON.stringify(subresource)}`} using ${apiVersion}`;
    fieldsBy.set(who, [...(fieldsBy.get(who) ?? []), field]);
  }
  const parts = [...fieldsBy].map(([who, fields]) =>
    fields.length === 1 ? `conflict with ${who}: ${fields[0]}` : `conflicts with ${who}:\n- ${fields.join('\n- ')}`,
  );
  const message = `Apply failed with ${conflicts.length} conflict${conflicts.length === 1 ? '' : 's'}: ${parts.join('\n')}`;
  return new StatusError('Conflict', 409, 'Conflict', message, {
    name,
    kind: type.plural,
    causes: conflicts.map(({ manager, apiVersion, field }) => ({
      reason: 'FieldManagerConflict',
      message: `conflict with ${JSON.stringify(manager)} using ${apiVersion}`,
      field,
    })),
  });
}

function asJson(object: KubeObject): JsonObject {
  return object as unknown as JsonObject;
}
