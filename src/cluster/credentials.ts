import type { Unsubscribe } from '../kit/emitter.ts';

/** A client certificate (with its chain) and its key, PEM texts. */
export interface ClientCertificate {
  readonly cert: string;
  readonly key: string;
}

/**
 * Whence connections to the API server take their client certificate: the rotation of certificates is one. The
 * transport asks for each new connection, and moves to new connections when told of a change: new requests go there at
 * once, what is under way ends where it is, watches resume from where they were.
 */
export interface CertificateSource {
  /** undefined: there is none yet, connections are made without. */
  current(): ClientCertificate | undefined;
  /** Told after `current` has changed. */
  subscribe(listener: () => void): Unsubscribe;
}
