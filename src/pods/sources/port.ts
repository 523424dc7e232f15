import type { Unsubscribe } from '../../kit/emitter.ts';
import type { Pod } from '../../model/pod.ts';

/** Where pods come from beside the API. */
export type StaticSource = 'file' | 'http';

/** One Pod of a manifest. */
export interface DecodedPod {
  /** With kubelet's defaults, its quantities as they were written: what the UID is made of. */
  readonly written: Readonly<Record<string, unknown>>;
  /** The same as an API server would hold it. */
  readonly pod: Pod;
  /** What is against the rules in `pod` once it is complete, a line each, with its place in the text. */
  check(pod: Pod): readonly string[];
  /** Fields that nobody knows, which kubelet passes over; with their places. */
  readonly warnings: readonly string[];
}

/**
 * Reads the text of a manifest, JSON or YAML: one Pod, or with `lists` a PodList as well. Throws InvalidObject whose
 * message has a line for each mistake, with `name`, line and field.
 */
export interface ManifestDecoder {
  decode(text: string, name: string, options?: { readonly lists?: boolean }): Promise<readonly DecodedPod[]>;
}

/** How far the sources have spoken: what nobody has named is unwanted only once all have. */
export interface PodSources {
  /** Every source has reported at least once. */
  readonly complete: boolean;
  /** Whether a pod (by UID) that no source has named is known to be unwanted. */
  judges(uid: string): boolean;
  onComplete(listener: () => void): Unsubscribe;
}
