import type { Unsubscribe } from '../kit/emitter.ts';

/** Something that the server is made with and that may be replaced while it serves. */
interface Replaceable<T> {
  current(): T | undefined;
  /** Told after `current` has changed. */
  subscribe(listener: () => void): Unsubscribe;
}

/** What the server shows: certificate (with its chain) and key, PEM texts. undefined: none yet, handshakes fail. */
export type ServingCertificate = Replaceable<{ readonly cert: string; readonly key: string }>;

/** Whose client certificates are believed: PEM text of one or more authorities. */
export type ClientAuthorities = Replaceable<string>;
