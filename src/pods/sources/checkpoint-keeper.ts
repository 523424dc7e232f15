import { createHash } from 'node:crypto';
import type { ApiClient, ObjectSource, TokenSource, View } from '../../cluster/port.ts';
import type { Clock } from '../../kit/clock.ts';
import { Emitter, type Unsubscribe } from '../../kit/emitter.ts';
import { hasCode, messageOf } from '../../kit/errors.ts';
import type { Logger } from '../../kit/log.ts';
import type { KubeObject } from '../../model/meta.ts';
import type { Node } from '../../model/node.ts';
import type { PersistentVolumeClaim } from '../../model/objects.ts';
import type { Pod } from '../../model/pod.ts';
import { type ResourceType, resources } from '../../model/resource.ts';
import type { Service } from '../../model/service.ts';
import { isMirrorPod } from '../../model/static-pod.ts';
import { referencesOf } from '../environment/references.ts';
import { identityOf } from '../identity.ts';
import { type ClaimResolverDeps, ephemeralClaimName } from '../volumes/claims.ts';
import type { Checkpoint, CheckpointFile, StoredToken } from './checkpoint-file.ts';

export interface CheckpointKeeperDeps {
  readonly file: CheckpointFile;
  /** This node's pods as the API has them. */
  readonly pods: View<Pod>;
  readonly services: View<Service>;
  readonly clock: Clock;
  readonly log: Logger;
}

/** A change is written after this long, together with those that follow it; never twice within the second time. */
const SETTLE_MS = 2000;
const LEAST_INTERVAL_MS = 10_000;
/** A stored token is asked about again this soon: the API may be back. */
const TOKEN_AGAIN_MS = 60_000;
/** Kinds of what is kept. Of the last three the copy is what was read when the pod's volumes were made. */
const KEPT = [
  resources.configmaps,
  resources.secrets,
  resources.persistentvolumeclaims,
  resources.persistentvolumes,
  resources.nodes,
] as const;
const WATCHED: ReadonlySet<ResourceType> = new Set([resources.configmaps, resources.secrets]);
/** The Service whose address every container is told (spec/kubelet.md, "Service env"). */
const MASTER = { namespace: 'default', name: 'kubernetes' };

/**
 * Writes down what the pods of this node need, as it is seen passing by, and gives it back while the API has not been
 * heard yet. It stands between the pods room and the sources of objects, tokens and Services.
 */
export class CheckpointKeeper {
  private readonly deps: CheckpointKeeperDeps;
  private stored: Checkpoint | undefined;
  /** What the pods have read, as it was last. */
  private readonly read = new Map<string, { readonly type: ResourceType; object: KubeObject }>();
  /** Of these the API has something newer. */
  private readonly stale = new Set<string>();
  private readonly restoredChanged: Emitter<{ readonly owners: ReadonlySet<string>; readonly key: string }>;
  private readonly tokensSeen = new Map<string, StoredToken>();
  private live: ObjectSource | undefined;
  private written = '';
  private dirty = false;
  private wake: (() => void) | undefined;

  constructor(deps: CheckpointKeeperDeps) {
    this.deps = deps;
    this.restoredChanged = new Emitter((error) =>
      deps.log.error({ error: messageOf(error) }, 'a listener of the checkpoint threw'),
    );
  }

  /** Takes up the checkpoint that an earlier process left. Its pods, as long as the API has not been heard. */
  async restore(): Promise<readonly Pod[]> {
    const found = await this.deps.file.load();
    if (this.deps.pods.synced || found === undefined) return [];
    this.stored = found;
    const now = this.deps.clock.now();
    for (const object of found.objects) {
      const type = KEPT.find(({ kind }) => kind === object.kind) ?? resources.configmaps;
      const { namespace = '', name = '' } = object.metadata;
      this.read.set(keyFor(type, namespace, name), { type, object });
    }
    for (const token of found.tokens) if (token.expiresAt > now) this.tokensSeen.set(token.key, token);
    return found.pods;
  }

  /** Waits for the API, forgets what was restored, and writes what changes from then on. */
  async run(signal: AbortSignal): Promise<void> {
    const { pods, services, clock, log } = this.deps;
    await pods.whenSynced(signal);
    this.letGo();
    const stops = [pods.subscribe(() => this.changed()), services.subscribe(() => this.changed())];
    if (this.live !== undefined) {
      stops.push(
        this.live.subscribe((_owners, key) => {
          this.stale.add(key);
          this.changed();
        }),
      );
    }
    for (const key of this.read.keys()) this.stale.add(key);
    this.changed();
    try {
      while (!signal.aborted) {
        if (!this.dirty) await this.untilChanged(signal);
        await clock.sleep(SETTLE_MS, signal);
        this.dirty = false;
        await this.write().catch((error: unknown) =>
          log.warn({ error: messageOf(error) }, 'the checkpoint of the pods could not be written'),
        );
        await clock.sleep(LEAST_INTERVAL_MS - SETTLE_MS, signal);
      }
    } finally {
      for (const stop of stops) stop();
    }
  }

  /** The API has its word again: whoever has read the copies of an object reads it anew. */
  private letGo(): void {
    const { stored } = this;
    this.stored = undefined;
    if (stored === undefined) return;
    const owners = new Set(stored.pods.map(({ metadata }) => metadata.uid ?? ''));
    for (const key of this.read.keys()) this.restoredChanged.emit({ owners, key });
  }

  /** Writes it now, unless that would change nothing. */
  async write(): Promise<void> {
    const checkpoint = await this.collect();
    const digest = createHash('sha256').update(JSON.stringify(checkpoint)).digest('base64');
    if (digest === this.written) return;
    await this.deps.file.save(checkpoint);
    this.written = digest;
    this.deps.log.debug({ pods: checkpoint.pods.length, objects: checkpoint.objects.length }, 'wrote a checkpoint');
  }

  private async collect(): Promise<Checkpoint> {
    const { clock, services } = this.deps;
    const pods = [...this.deps.pods.values()].filter(isWorthKeeping);
    const uids = new Set(pods.map(({ metadata }) => metadata.uid));
    const namespaces = new Set(pods.map(({ metadata }) => metadata.namespace));
    const now = clock.now();
    return {
      pods,
      objects: await this.objectsOf(pods),
      services: [...services.values()].filter(
        ({ metadata: { namespace, name } }) =>
          namespaces.has(namespace) || (namespace === MASTER.namespace && name === MASTER.name),
      ),
      tokens: [...this.tokensSeen.values()].filter(({ podUid, expiresAt }) => uids.has(podUid) && expiresAt > now),
    };
  }

  /** Those that the pods have read: what none has read yet would only be asked for. */
  private async objectsOf(pods: readonly Pod[]): Promise<KubeObject[]> {
    const wanted = new Set<string>();
    for (const pod of pods) {
      const { namespace } = identityOf(pod);
      const { configMaps, secrets } = referencesOf(pod);
      for (const { name } of configMaps) wanted.add(keyFor(resources.configmaps, namespace, name));
      for (const { name } of secrets) wanted.add(keyFor(resources.secrets, namespace, name));
    }
    for (const pod of pods) for (const key of this.storageOf(pod)) wanted.add(key);
    for (const key of this.read.keys()) if (!wanted.has(key)) this.read.delete(key);
    for (const key of [...this.stale]) {
      this.stale.delete(key);
      await this.freshen(key);
    }
    return [...this.read.values()].map(({ type, object }) => ({ ...object, kind: type.kind }));
  }

  /** The claims of a pod, the volumes that they are bound to, and the node that these may be tied to. */
  private *storageOf(pod: Pod): Generator<string> {
    const { namespace } = identityOf(pod);
    for (const volume of pod.spec.volumes ?? []) {
      const { persistentVolumeClaim: claim, ephemeral } = volume;
      if (claim === undefined && ephemeral === undefined) continue;
      const name = claim?.claimName ?? ephemeralClaimName(pod, volume);
      const key = keyFor(resources.persistentvolumeclaims, namespace, name);
      yield key;
      const { spec } = (this.read.get(key)?.object ?? {}) as Partial<PersistentVolumeClaim>;
      yield keyFor(resources.persistentvolumes, '', spec?.volumeName ?? '');
      yield keyFor(resources.nodes, '', pod.spec.nodeName ?? '');
    }
  }

  private async freshen(key: string): Promise<void> {
    const entry = this.read.get(key);
    if (entry === undefined || this.live === undefined || !WATCHED.has(entry.type)) return;
    const { namespace = '', name = '' } = entry.object.metadata;
    try {
      entry.object = await this.live.get<KubeObject>(entry.type, namespace, name);
    } catch (error) {
      // While the API is away, the copy that is here is the best there is.
      if (hasCode(error, 'NotFound')) this.read.delete(key);
      else this.stale.add(key);
    }
  }

  private changed(): void {
    this.dirty = true;
    this.wake?.();
  }

  private untilChanged(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        signal.removeEventListener('abort', done);
        this.wake = undefined;
        resolve();
      };
      this.wake = done;
      signal.addEventListener('abort', done, { once: true });
    });
  }

  // ── between the pods and what they read ───────────────────────────────────────────────────────────────────────────

  objects(live: ObjectSource): ObjectSource {
    this.live = live;
    return {
      need: (...args) => live.need(...args),
      release: (...args) => live.release(...args),
      subscribe: (listener): Unsubscribe => {
        const stops = [
          live.subscribe(listener),
          this.restoredChanged.subscribe(({ owners, key }) => listener(owners, key)),
        ];
        return () => {
          for (const stop of stops) stop();
        };
      },
      get: async <T extends KubeObject>(
        type: ResourceType,
        namespace: string,
        name: string,
        signal?: AbortSignal,
      ): Promise<T> => {
        const kept = this.kept(type, namespace, name);
        if (kept !== undefined) return kept as T;
        const found = await live.get<T>(type, namespace, name, signal);
        this.note(type, found);
        return found;
      },
    };
  }

  /** What leads from claims to volumes: read once when a pod's volumes are made, so that no copy is watched. */
  claims({ api, node }: ClaimResolverDeps): ClaimResolverDeps {
    return {
      api: {
        get: async <T extends KubeObject>(...[type, target, signal]: Parameters<ApiClient['get']>): Promise<T> => {
          const kept = this.kept(type, target.namespace ?? '', target.name ?? '');
          if (kept !== undefined) return kept as T;
          const found = await api.get<T>(type, target, signal);
          this.note(type, found);
          return found;
        },
      },
      node: () => {
        const found = node();
        if (found === undefined) {
          return this.stored?.objects.find(({ kind }) => kind === resources.nodes.kind) as Node | undefined;
        }
        // Its status changes all the time, and volumes are tied to labels.
        const { name = '', labels = {} } = found.metadata;
        const known = this.read.get(keyFor(resources.nodes, '', name))?.object.metadata.labels;
        const changed = JSON.stringify(known) !== JSON.stringify(labels);
        if (changed) this.note(resources.nodes, { metadata: { name, labels } });
        return found;
      },
    };
  }

  private kept(type: ResourceType, namespace: string, name: string): KubeObject | undefined {
    return this.stored?.objects.find(
      ({ kind, metadata }) => kind === type.kind && (metadata.namespace ?? '') === namespace && metadata.name === name,
    );
  }

  private note(type: ResourceType, object: KubeObject): void {
    const { namespace = '', name = '' } = object.metadata;
    const key = keyFor(type, namespace, name);
    if (this.read.get(key)?.object !== object) this.changed();
    this.read.set(key, { type, object });
  }

  /** A restored token serves until it expires; after that its pod waits for the API. */
  tokens(live: TokenSource): TokenSource {
    return {
      token: async (request) => {
        const key = JSON.stringify(request);
        const now = this.deps.clock.now();
        const kept = this.stored === undefined ? undefined : this.tokensSeen.get(key);
        if (kept !== undefined && kept.expiresAt > now) {
          return {
            token: kept.token,
            renewAt: Math.min(now + TOKEN_AGAIN_MS, kept.expiresAt),
            expiresAt: kept.expiresAt,
          };
        }
        const given = await live.token(request);
        const expiresAt = expiryOf(given.token);
        if (expiresAt !== undefined && this.tokensSeen.get(key)?.token !== given.token) {
          this.tokensSeen.set(key, { key, podUid: request.podUid, token: given.token, expiresAt });
          this.changed();
        }
        return given;
      },
      forget: (podUid) => {
        for (const [key, token] of this.tokensSeen) if (token.podUid === podUid) this.tokensSeen.delete(key);
        live.forget(podUid);
      },
    };
  }

  services(live: View<Service>): View<Service> {
    const kept = (): readonly Service[] | undefined => (live.synced ? undefined : this.stored?.services);
    return {
      get synced() {
        return live.synced || kept() !== undefined;
      },
      get size() {
        return kept()?.length ?? live.size;
      },
      whenSynced: (signal) => (kept() === undefined ? live.whenSynced(signal) : Promise.resolve()),
      get: (key) => kept()?.find(({ metadata }) => `${metadata.namespace}/${metadata.name}` === key) ?? live.get(key),
      values: () => kept()?.values() ?? live.values(),
      subscribe: (listener) => live.subscribe(listener),
    };
  }
}

/** As an ObjectSource names it. */
function keyFor(type: ResourceType, namespace: string, name: string): string {
  return `${type.kind}/${namespace}/${name}`;
}

/** Not what has ended or is ending, and not what the node's own files say. */
function isWorthKeeping(pod: Pod): boolean {
  const { phase } = pod.status ?? {};
  if (pod.metadata.deletionTimestamp !== undefined || isMirrorPod(pod)) return false;
  return phase !== 'Succeeded' && phase !== 'Failed';
}

/** Milliseconds since the epoch, from the token's own claim (RFC 7519 "exp"). */
function expiryOf(token: string): number | undefined {
  try {
    const claims = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as { exp?: unknown };
    return typeof claims.exp === 'number' ? claims.exp * 1000 : undefined;
  } catch {
    return undefined;
  }
}
