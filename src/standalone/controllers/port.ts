import type { KubeObject } from '../../model/meta.ts';
import type { ResourceType } from '../../model/resource.ts';

export interface DeleteRequest {
  readonly gracePeriodSeconds?: number;
  /** Deletes nothing when another object has the name now. */
  readonly uid?: string;
}

/**
 * Deletion with the API's rules: a pod's grace, finalizers. What the HTTP layer does for DELETE and what controllers
 * use; deleting what is gone, or going as fast already, is no error.
 */
export interface ObjectDeleter {
  delete(type: ResourceType, namespace: string | undefined, name: string, request?: DeleteRequest): Promise<void>;
  /**
   * Writes an object; removes it instead when it is being deleted, nothing holds it any more and its grace is over.
   * Throws as Store.update.
   */
  updateOrRemove(type: ResourceType, object: KubeObject): Promise<void>;
}

/** One control loop of the embedded API. */
export interface Controller {
  /** Looks at everything there is, then follows the Store. */
  start(): void | Promise<void>;
  close(): Promise<void>;
}
