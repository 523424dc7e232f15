import { hasCode } from '../../kit/errors.ts';
import type { KubeObject } from '../../model/meta.ts';
import type { ResourceType } from '../../model/resource.ts';
import type { ManifestApi } from './port.ts';

interface Where {
  readonly namespace?: string | undefined;
  readonly name?: string | undefined;
}

/** The part of cluster/port.ts's ApiClient that is used here (standalone imports no cluster). */
export interface ApplyClient {
  get<T extends KubeObject>(type: ResourceType, target: Where): Promise<T>;
  list<T extends KubeObject>(
    type: ResourceType,
    options: { labelSelector?: string; limit?: number; continue?: string },
  ): Promise<{ metadata: { continue?: string }; items: T[] }>;
  patch<T extends KubeObject>(type: ResourceType, target: Where, patch: unknown, patchType: 'apply'): Promise<T>;
  delete(type: ResourceType, target: Where, options?: { uid?: string }): Promise<void>;
}

const PAGE = 500;

/** Manifests over an ApiClient, which should be made with the field manager "deckhand-manifests". */
export class ManifestApiClient implements ManifestApi {
  private readonly client: ApplyClient;

  constructor(client: ApplyClient) {
    this.client = client;
  }

  async get(type: ResourceType, namespace: string | undefined, name: string): Promise<KubeObject | undefined> {
    try {
      return await this.client.get<KubeObject>(type, { namespace, name });
    } catch (error) {
      if (hasCode(error, 'NotFound')) return undefined;
      throw error;
    }
  }

  async list(type: ResourceType, labelSelector: string): Promise<KubeObject[]> {
    const objects: KubeObject[] = [];
    let more: string | undefined;
    do {
      const page = await this.client.list<KubeObject>(type, {
        labelSelector,
        limit: PAGE,
        ...(more === undefined ? {} : { continue: more }),
      });
      objects.push(...page.items);
      more = page.metadata.continue || undefined;
    } while (more !== undefined);
    return objects;
  }

  apply(type: ResourceType, object: KubeObject): Promise<KubeObject> {
    const { namespace, name } = object.metadata;
    return this.client.patch<KubeObject>(type, { namespace, name }, object, 'apply');
  }

  async delete(type: ResourceType, { metadata }: KubeObject): Promise<void> {
    try {
      const options = metadata.uid === undefined ? {} : { uid: metadata.uid };
      await this.client.delete(type, { namespace: metadata.namespace, name: metadata.name }, options);
    } catch (error) {
      if (!hasCode(error, 'NotFound', 'Conflict')) throw error;
    }
  }
}
