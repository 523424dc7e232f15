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

/** Who makes a request, as in UserInfo of authentication.k8s.io. */
export interface Caller {
  readonly username: string;
  readonly uid?: string | undefined;
  readonly groups: readonly string[];
  readonly extra?: Readonly<Record<string, readonly string[]>> | undefined;
}

/** What a caller wants of the node, as in ResourceAttributes of authorization.k8s.io (the resource is "nodes"). */
export interface NodeAccess {
  /** "" for a method that no verb stands for. */
  readonly verb: string;
  readonly subresource: string;
  /** The node. */
  readonly name: string;
}

/** The API server's word on callers. Both throw CodedError when it cannot be had. */
export interface Reviews {
  /** The holder of a bearer token (TokenReview); undefined: the token is no good. */
  holderOf(token: string): Promise<Caller | undefined>;
  /** Whether a caller may (SubjectAccessReview). */
  mayAccess(caller: Caller, access: NodeAccess): Promise<boolean>;
}
