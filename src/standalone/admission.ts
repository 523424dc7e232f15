import type { Clock } from '../kit/clock.ts';
import { CodedError } from '../kit/errors.ts';
import type { KubeObject } from '../model/meta.ts';
import type { Namespace } from '../model/objects.ts';
import type { Pod } from '../model/pod.ts';
import { apiVersionOf, type ResourceType, resources } from '../model/resource.ts';
import type { Service } from '../model/service.ts';
import { PodAdmission, type PodAdmissionOptions } from './allocation/pod-admission.ts';
import { ServiceAllocator, type ServiceAllocatorOptions } from './allocation/service-allocator.ts';
import { settleService } from './allocation/settle-service.ts';
import { normalize } from './defaults/normalize.ts';
import { applyDefaults } from './defaults/object-defaults.ts';
import type { Admission, FieldError, Store } from './port.ts';
import { enumErrors } from './schema/enum-errors.ts';
import type { ObjectSchema, Schemas } from './schema/port.ts';
import { structuralErrors } from './schema/structural-errors.ts';
import { validateObject } from './validation/validate-object.ts';

export interface ObjectAdmissionOptions extends ServiceAllocatorOptions, PodAdmissionOptions {}

export interface ObjectAdmissionDeps {
  readonly store: Store;
  readonly schemas: Schemas;
  readonly clock: Clock;
  /** 0 ≤ random() < 1, as Math.random. */
  readonly random: () => number;
}

/** The object rules of the embedded API. Make it after the Store was read, and close it before the Store. */
export class ObjectAdmission implements Admission {
  private readonly schemas: Schemas;
  private readonly store: Store;
  private readonly services: ServiceAllocator;
  private readonly pods: PodAdmission;
  private readonly rules: ObjectRules;

  constructor(options: ObjectAdmissionOptions, deps: ObjectAdmissionDeps) {
    this.schemas = deps.schemas;
    this.store = deps.store;
    this.services = new ServiceAllocator(options, deps);
    this.pods = new PodAdmission(options, deps);
    this.rules = new ObjectRules(this.schemas);
  }

  close(): void {
    this.services.close();
  }

  /** The `kubernetes` Service's address: the first of the first service CIDR. */
  get apiAddress(): string {
    return this.services.apiAddress;
  }

  /** The configured CIDRs of Services, in their one spelling. */
  get serviceCidrs(): readonly string[] {
    return this.services.serviceCidrs;
  }

  structural(type: ResourceType, object: unknown): FieldError[] {
    return this.rules.structural(type, object);
  }

  defaults<T extends KubeObject>(type: ResourceType, object: T): T {
    return this.rules.defaults(type, object);
  }

  validate(
    type: ResourceType,
    object: KubeObject,
    previous: KubeObject | undefined,
    subresource?: string,
  ): FieldError[] {
    return this.rules.validate(type, object, previous, subresource);
  }

  /** Also NotFound for a namespace that does not exist and Forbidden for one that is going. */
  allocate(type: ResourceType, object: KubeObject, previous: KubeObject | undefined): KubeObject {
    if (previous === undefined && type.namespaced) this.checkNamespace(type, object);
    switch (type.plural) {
      case resources.services.plural:
        return this.services.allocate(settleService(object as Service, previous as Service | undefined));
      case resources.pods.plural:
        return previous === undefined ? this.pods.create(object as Pod) : this.rebind(object as Pod, previous as Pod);
      case resources.namespaces.plural: {
        if (previous !== undefined) return object;
        const namespace = object as Namespace;
        const finalizers = [...new Set([...(namespace.spec?.finalizers ?? []), 'kubernetes'])];
        return { ...namespace, spec: { ...namespace.spec, finalizers }, status: { phase: 'Active' } } as Namespace;
      }
      default:
        return object;
    }
  }

  /** For the controller that binds what could not be bound at first. */
  bind(pod: Pod): Pod {
    return this.pods.bind(pod);
  }

  // A pod that lost its last scheduling gate is bound in the same write.
  private rebind(pod: Pod, previous: Pod): Pod {
    const gated = (previous.spec.schedulingGates?.length ?? 0) > 0;
    return gated && (pod.spec.schedulingGates?.length ?? 0) === 0 ? this.pods.bind(pod) : pod;
  }

  private checkNamespace(type: ResourceType, object: KubeObject): void {
    const name = object.metadata.namespace ?? '';
    const namespace = this.store.get(resources.namespaces, undefined, name);
    if (namespace === undefined) {
      throw new CodedError('NotFound', `namespaces ${JSON.stringify(name)} not found`, {
        kind: 'Namespace',
        name,
        reason: 'NotFound',
      });
    }
    if (namespace.metadata.deletionTimestamp === undefined) return;
    const what = `${type.plural} ${JSON.stringify(object.metadata.name ?? '')}`;
    const text = `${what} is forbidden: unable to create new content in namespace ${name} because it is being terminated`;
    throw new CodedError('Forbidden', text, { kind: type.kind, name: object.metadata.name, reason: 'Forbidden' });
  }
}

/** The rules that need neither store nor clock: what `deckhand manifests check` uses too. */
export class ObjectRules implements Pick<Admission, 'structural' | 'defaults' | 'validate'> {
  private readonly schemas: Schemas;

  constructor(schemas: Schemas) {
    this.schemas = schemas;
  }

  structural(type: ResourceType, object: unknown): FieldError[] {
    return structuralErrors(this.schemaOf(type), object);
  }

  /** Also drops unknown fields and nulls, and spells quantities as an API server does. */
  defaults<T extends KubeObject>(type: ResourceType, object: T): T {
    const copy = normalize(this.schemaOf(type), object) as unknown as T;
    copy.apiVersion = apiVersionOf(type);
    copy.kind = type.kind;
    copy.metadata ??= {};
    applyDefaults(type, copy);
    return copy;
  }

  /** `object` has its defaults. `subresource` says which one an update of a pod came through. */
  validate(
    type: ResourceType,
    object: KubeObject,
    previous: KubeObject | undefined,
    subresource?: string,
  ): FieldError[] {
    const settled =
      type.plural === resources.services.plural
        ? settleService(object as Service, previous as Service | undefined)
        : object;
    const enums = enumErrors(this.schemaOf(type), settled);
    const seen = new Set(enums.map(({ field }) => field));
    const others = validateObject(type, settled, previous, subresource);
    return [...enums, ...others.filter(({ field }) => !seen.has(field))];
  }

  /**
   * Every mistake of an object at once: where structure is wrong the rest is judged without the wrong part. What the
   * server would fill in (namespace) must be there.
   */
  review(type: ResourceType, object: object): FieldError[] {
    const structural = this.structural(type, object);
    const defaulted = this.defaults(type, object as KubeObject);
    const broken = structural.map(({ field }) => field);
    const meaning = this.validate(type, defaulted, undefined).filter(
      // A field that was dropped for its type is not missing as well.
      ({ field }) =>
        !broken.some((path) => field === path || field.startsWith(`${path}.`) || field.startsWith(`${path}[`)),
    );
    return [...structural, ...meaning];
  }

  private schemaOf(type: ResourceType): ObjectSchema {
    const schema = this.schemas.rootOf(type);
    if (schema !== undefined) return schema;
    throw new CodedError('NotFound', `the kind ${type.kind} in ${apiVersionOf(type)} is not served`, {
      kind: type.kind,
    });
  }
}
