import type { KubeObject } from '../../model/meta.ts';
import type { ResourceType } from '../../model/resource.ts';

/** Where a manifest was written. */
export interface ManifestSource {
  /** The file's name in the folder. */
  readonly file: string;
  /** Counted from 1, empty ones included. */
  readonly document: number;
  /** Of the object's first line, from 1. */
  readonly line: number;
}

/** An object that may be applied: it has name and namespace, and no mistakes that can be seen without the API. */
export interface Manifest {
  readonly type: ResourceType;
  readonly object: KubeObject;
  readonly source: ManifestSource;
}

/** Something wrong in a file, a document, or a field of an object. */
export interface ManifestMistake {
  readonly file: string;
  readonly document?: number;
  readonly line?: number;
  readonly column?: number;
  /** Such as "Pod default/web"; absent when the text could not be read that far. */
  readonly object?: string;
  /** Such as spec.containers[0].image */
  readonly field?: string;
  /** What is there and what was expected. */
  readonly message: string;
}

export interface ReadManifests {
  readonly manifests: readonly Manifest[];
  readonly mistakes: readonly ManifestMistake[];
  /** How many files were looked at. */
  readonly files: number;
}

/** What the follower asks of an API; errors are CodedErrors as ApiClient throws them. */
export interface ManifestApi {
  /** undefined when there is no such object. */
  get(type: ResourceType, namespace: string | undefined, name: string): Promise<KubeObject | undefined>;
  /** All of a kind, in every namespace, with the label. */
  list(type: ResourceType, labelSelector: string): Promise<KubeObject[]>;
  /** Server-side apply, made when missing. */
  apply(type: ResourceType, object: KubeObject): Promise<KubeObject>;
  /** Nothing happens when it is gone, or when another object has the name now. */
  delete(type: ResourceType, object: KubeObject): Promise<void>;
}
