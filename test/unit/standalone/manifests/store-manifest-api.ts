import type { Clock } from '../../../../src/kit/clock.ts';
import { CodedError } from '../../../../src/kit/errors.ts';
import type { KubeObject } from '../../../../src/model/meta.ts';
import type { ResourceType } from '../../../../src/model/resource.ts';
import { matches, parseSelector } from '../../../../src/model/selector.ts';
import { ObjectAdmission } from '../../../../src/standalone/admission.ts';
import { invalidObject } from '../../../../src/standalone/allocation/invalid-object.ts';
import { StoreDeleter } from '../../../../src/standalone/controllers/store-deleter.ts';
import type { ManifestApi } from '../../../../src/standalone/manifests/port.ts';
import type { Store } from '../../../../src/standalone/port.ts';
import { schemas } from '../admission/object-fixtures.ts';

/**
 * The embedded API without HTTP: real store, real rules, real deletion. Applying merges the manifest's spec and data
 * over what is there, which is what server-side apply does for fields that nobody else owns.
 */
export class StoreManifestApi implements ManifestApi {
  readonly admission: ObjectAdmission;
  readonly applied: string[] = [];
  /** While true every call fails as an API server that is away does. */
  away = false;
  private readonly store: Store;
  private readonly deleter: StoreDeleter;

  constructor(store: Store, clock: Clock) {
    this.store = store;
    this.deleter = new StoreDeleter(store, clock);
    this.admission = new ObjectAdmission(
      {
        serviceCidrs: ['10.96.0.0/16'],
        nodePortRange: { from: 30_000, to: 32_767 },
        nodeName: 'n1',
        mountServiceAccountTokens: false,
      },
      { store, schemas, clock, random: Math.random },
    );
  }

  async get(type: ResourceType, namespace: string | undefined, name: string): Promise<KubeObject | undefined> {
    this.check();
    return this.store.get(type, namespace, name);
  }

  async list(type: ResourceType, labelSelector: string): Promise<KubeObject[]> {
    this.check();
    const selector = parseSelector(labelSelector);
    return this.store.list(type).filter(({ metadata }) => matches(selector, metadata.labels));
  }

  async apply(type: ResourceType, object: KubeObject): Promise<KubeObject> {
    this.check();
    const { namespace, name = '' } = object.metadata;
    const previous = this.store.get(type, namespace, name);
    const next = previous === undefined ? object : merged(previous, object);
    const wrong = this.admission.structural(type, next);
    if (wrong.length > 0) throw invalidObject(type, object, wrong);
    const defaulted = this.admission.defaults(type, next);
    const errors = this.admission.validate(type, defaulted, previous);
    if (errors.length > 0) throw invalidObject(type, object, errors);
    const allocated = this.admission.allocate(type, defaulted, previous);
    this.applied.push(`${type.kind} ${name}`);
    return previous === undefined ? this.store.create(type, allocated) : this.store.update(type, allocated);
  }

  async delete(type: ResourceType, { metadata }: KubeObject): Promise<void> {
    this.check();
    await this.deleter.delete(
      type,
      metadata.namespace,
      metadata.name ?? '',
      metadata.uid === undefined ? {} : { uid: metadata.uid },
    );
  }

  /** As a node does once a pod has ended. */
  async finish(type: ResourceType, namespace: string, name: string): Promise<void> {
    await this.deleter.delete(type, namespace, name, { gracePeriodSeconds: 0 });
  }

  private check(): void {
    if (this.away) throw new CodedError('Unavailable', 'the API is away');
  }
}

function merged(previous: KubeObject, object: KubeObject): KubeObject {
  const [before, after] = [previous, object] as unknown as { [key: string]: object | undefined }[];
  const metadata = {
    ...previous.metadata,
    labels: { ...previous.metadata.labels, ...object.metadata.labels },
    annotations: { ...previous.metadata.annotations, ...object.metadata.annotations },
  };
  return {
    ...before,
    ...after,
    metadata,
    ...(after?.['spec'] === undefined ? {} : { spec: { ...before?.['spec'], ...after['spec'] } }),
  } as KubeObject;
}
