import type { Unsubscribe } from '../kit/emitter.ts';
import type { Pod } from '../model/pod.ts';

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

/** The pods that this node is to run, each with the status that the node has made of it last. */
export interface NodePods {
  values(): Iterable<Pod>;
  /** With `uid`, only if that is its own or its mirror pod's. */
  find(namespace: string, name: string, uid?: string): Pod | undefined;
}

/** What the runtime has of one pod; newest first. */
export interface PodInRuntime {
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  readonly sandboxes: readonly {
    readonly id: string;
    readonly state: 'READY' | 'NOTREADY';
    readonly createdAt: number;
    readonly ips: readonly string[];
    readonly hostNetwork: boolean;
  }[];
  readonly containers: readonly {
    readonly id: string;
    readonly name: string;
    readonly sandboxId: string;
    readonly state: 'CREATED' | 'RUNNING' | 'EXITED' | 'UNKNOWN';
    readonly restartCount: number;
    readonly createdAt: number;
    readonly startedAt: number;
    readonly image: string;
    readonly imageRef: string;
    /** It is said to have ended, and the runtime has yet to confirm it. */
    readonly provisional: boolean;
  }[];
}

/** What the runtime runs, kept fresh. */
export interface RuntimeView {
  get(uid: string): PodInRuntime | undefined;
  uids(): readonly string[];
  /** Told a pod's UID after its record changed. */
  subscribe(listener: (uid: string) => void): Unsubscribe;
}
