import { createHash } from 'node:crypto';
import type { Clock } from '../../kit/clock.ts';
import { CodedError, hasCode, messageOf } from '../../kit/errors.ts';
import { KeyedQueue, type RunResult } from '../../kit/keyed-queue.ts';
import type { Logger } from '../../kit/log.ts';
import { type KubeObject, keyOf } from '../../model/meta.ts';
import { type ResourceType, resources } from '../../model/resource.ts';
import type { Schemas } from '../schema/port.ts';
import { formatMistake } from './format-mistake.ts';
import { ManifestReader } from './manifest-reader.ts';
import type { Manifest, ManifestApi, ManifestMistake } from './port.ts';
import { type WatchFolder, watchFolder } from './watch-folder.ts';

/** Marks objects that were made from manifests, so that they are found again and pruned. */
export const MANIFEST_LABEL = 'deckhand.dev/manifests';
const FILE_ANNOTATION = 'deckhand.dev/manifest-file';
const HASH_ANNOTATION = 'deckhand.dev/manifest-hash';

/** What others need comes first; removals go the other way. */
const ORDER: readonly ResourceType[] = [
  resources.namespaces,
  resources.nodes,
  resources.priorityclasses,
  resources.runtimeclasses,
  resources.csidrivers,
  resources.clustertrustbundles,
  resources.storageclasses,
  resources.serviceaccounts,
  resources.secrets,
  resources.configmaps,
  resources.persistentvolumes,
  resources.persistentvolumeclaims,
  resources.servicecidrs,
  resources.services,
  resources.endpointslices,
  resources.leases,
  resources.pods,
  resources.events,
];
const PARALLEL = 8;

export interface ManifestsFollowerOptions {
  readonly dir: string;
  /** Folders are looked at this often even if nothing tells of a change. Default 20 s, as kubelet's fileCheckFrequency. */
  readonly rescanMs?: number;
  /** After a change, so long is waited for more of them: an editor writes in several steps. Default 100 ms. */
  readonly settleMs?: number;
  /** How often a pod that is being replaced is looked for. Default 200 ms. */
  readonly replacePollMs?: number;
}

export interface ManifestsFollowerDeps {
  readonly api: ManifestApi;
  readonly schemas: Schemas;
  readonly clock: Clock;
  readonly log: Logger;
  /** Default: fs.watch. */
  readonly watch?: WatchFolder;
}

/**
 * Keeps the API true to a folder of manifests: applies what is new or changed, makes again what was deleted, prunes
 * what vanished from the folder, and replaces pods whose change the API does not allow. A file with mistakes harms
 * nothing but the objects that have them; what such a file made earlier stays.
 */
export class ManifestsFollower {
  private readonly options: Required<ManifestsFollowerOptions>;
  private readonly deps: ManifestsFollowerDeps;
  private readonly reader: ManifestReader;
  private readonly label: string;
  private readonly sync: KeyedQueue;
  private readonly replacing: KeyedQueue;
  private readonly toReplace = new Map<string, { readonly manifest: Manifest; readonly uid: string }>();
  private watcher: { close(): void } | undefined;
  private reported = new Set<string>();
  private current: readonly ManifestMistake[] = [];
  private firstDone: (() => void) | undefined;
  private readonly first: Promise<void>;

  constructor(options: ManifestsFollowerOptions, deps: ManifestsFollowerDeps) {
    this.options = { rescanMs: 20_000, settleMs: 100, replacePollMs: 200, ...options };
    this.deps = deps;
    this.reader = new ManifestReader(deps.schemas);
    this.label = createHash('sha256').update(options.dir).digest('hex').slice(0, 16);
    this.first = new Promise((resolve) => {
      this.firstDone = resolve;
    });
    const retry = { baseMs: 500, maxMs: 30_000 };
    this.sync = new KeyedQueue(deps.clock, () => this.run(), {
      retry,
      maxIntervalMs: this.options.rescanMs,
      onError: (_key, error) =>
        deps.log.warn({ dir: options.dir, error: messageOf(error) }, 'manifests not applied; retrying'),
    });
    this.replacing = new KeyedQueue(deps.clock, (key) => this.replace(key), {
      retry,
      onError: (pod, error) => deps.log.warn({ pod, error: messageOf(error) }, 'pod not replaced; retrying'),
    });
  }

  start(): void {
    this.watcher = (this.deps.watch ?? watchFolder)(
      this.options.dir,
      () => this.sync.request('all', this.options.settleMs),
      (error) =>
        this.deps.log.debug({ dir: this.options.dir, error: messageOf(error) }, 'folder not watched, only looked at'),
    );
    this.sync.request('all');
  }

  /** Resolves after the first time that the whole folder was gone through, with the mistakes that were found. */
  async whenApplied(): Promise<readonly ManifestMistake[]> {
    await this.first;
    return this.current;
  }

  /** What is wrong now, in the files and with what the API answered. */
  get mistakes(): readonly ManifestMistake[] {
    return this.current;
  }

  async close(): Promise<void> {
    this.watcher?.close();
    await Promise.all([this.sync.close(), this.replacing.close()]);
  }

  private async run(): Promise<undefined> {
    const { manifests, mistakes: found, files } = await this.reader.read(this.options.dir);
    const live = await this.liveObjects();
    const mistakes = [...found];
    const unavailable: unknown[] = [];
    const broken = new Set(found.map(({ file }) => file));
    await this.prune(manifests, live, broken, unavailable);
    let applied = 0;
    for (const type of ORDER) {
      const ofKind = manifests.filter((manifest) => manifest.type.plural === type.plural);
      await inParallel(ofKind, async (manifest) => {
        try {
          if (await this.applyOne(manifest, live.get(keyFor(manifest.type, manifest.object)))) applied++;
        } catch (error) {
          if (hasCode(error, 'Unavailable', 'DeadlineExceeded', 'TooManyRequests', 'Aborted')) unavailable.push(error);
          else mistakes.push(this.refusal(manifest, error));
        }
      });
    }
    this.report(mistakes);
    if (applied > 0) {
      this.deps.log.info({ dir: this.options.dir, files, objects: manifests.length, applied }, 'manifests applied');
    }
    // Thrown for the queue's back-off; everything that could be done has been.
    if (unavailable.length > 0) throw unavailable[0];
    this.firstDone?.();
    return undefined;
  }

  private async liveObjects(): Promise<Map<string, KubeObject>> {
    const live = new Map<string, KubeObject>();
    for (const type of ORDER) {
      for (const object of await this.deps.api.list(type, `${MANIFEST_LABEL}=${this.label}`)) {
        // Controllers copy labels (a Service's to its EndpointSlices): only what names its file was made from one.
        if (object.metadata.annotations?.[FILE_ANNOTATION] === undefined) continue;
        live.set(keyFor(type, object), object);
      }
    }
    return live;
  }

  /** True when something was written. */
  private async applyOne(manifest: Manifest, live: KubeObject | undefined): Promise<boolean> {
    const { type, source } = manifest;
    const object = this.marked(manifest);
    const key = keyFor(type, object);
    if (live?.metadata.deletionTimestamp !== undefined) {
      // Somebody deleted it: it is made again once it is gone.
      if (type.plural === resources.pods.plural) this.replaceLater(key, manifest, live);
      return false;
    }
    const same = live?.metadata.annotations?.[HASH_ANNOTATION] === object.metadata.annotations?.[HASH_ANNOTATION];
    if (same && live?.metadata.annotations?.[FILE_ANNOTATION] === source.file) return false;
    try {
      await this.deps.api.apply(type, object);
      return true;
    } catch (error) {
      if (type.plural !== resources.pods.plural || !hasCode(error, 'InvalidObject')) throw error;
      const existing = await this.deps.api.get(type, object.metadata.namespace, object.metadata.name ?? '');
      // What cannot even be created will not be cured by deleting what runs.
      if (existing === undefined || !messageOf(error).includes('pod updates may not')) throw error;
      this.replaceLater(key, manifest, existing);
      return true;
    }
  }

  private replaceLater(key: string, manifest: Manifest, existing: KubeObject): void {
    this.toReplace.set(key, { manifest, uid: existing.metadata.uid ?? '' });
    this.replacing.request(key);
  }

  /** Delete, wait until it is gone, make it anew: one pod's grace holds up nobody else. */
  private async replace(key: string): Promise<RunResult> {
    const { api, log } = this.deps;
    const wanted = this.toReplace.get(key);
    if (wanted === undefined) return undefined;
    const { type, object } = wanted.manifest;
    const existing = await api.get(type, object.metadata.namespace, object.metadata.name ?? '');
    if (existing !== undefined && existing.metadata.uid === wanted.uid) {
      if (existing.metadata.deletionTimestamp === undefined) {
        log.info(
          { pod: keyOf(object), file: wanted.manifest.source.file },
          'pod is replaced: its change is not allowed in place',
        );
        await api.delete(type, existing);
      }
      return { againInMs: this.options.replacePollMs };
    }
    this.toReplace.delete(key);
    // The folder may say something else by now.
    this.sync.request('all');
    return undefined;
  }

  private async prune(
    manifests: readonly Manifest[],
    live: ReadonlyMap<string, KubeObject>,
    broken: ReadonlySet<string>,
    unavailable: unknown[],
  ): Promise<void> {
    const wanted = new Set(manifests.map(({ type, object }) => keyFor(type, object)));
    for (const type of [...ORDER].reverse()) {
      const gone = [...live].filter(([key, object]) => {
        if (!key.startsWith(`${type.plural}/`) || wanted.has(key)) return false;
        // While its file has mistakes nobody knows whether it was meant to go.
        return (
          object.metadata.deletionTimestamp === undefined &&
          !broken.has(object.metadata.annotations?.[FILE_ANNOTATION] ?? '')
        );
      });
      await inParallel(gone, async ([key, object]) => {
        this.toReplace.delete(key);
        try {
          await this.deps.api.delete(type, object);
          this.deps.log.info({ kind: type.kind, object: keyOf(object) }, 'object pruned: its manifest is gone');
        } catch (error) {
          unavailable.push(error);
        }
      });
    }
  }

  private marked({ object, source }: Manifest): KubeObject {
    const hash = createHash('sha256').update(JSON.stringify(object)).digest('hex').slice(0, 16);
    const { metadata } = object;
    return {
      ...object,
      metadata: {
        ...metadata,
        labels: { ...metadata.labels, [MANIFEST_LABEL]: this.label },
        annotations: { ...metadata.annotations, [FILE_ANNOTATION]: source.file, [HASH_ANNOTATION]: hash },
      },
    };
  }

  private refusal({ type, object, source }: Manifest, error: unknown): ManifestMistake {
    const field = error instanceof CodedError ? error.metadata['field'] : undefined;
    return {
      ...source,
      object: `${type.kind} ${keyOf(object)}`,
      ...(typeof field === 'string' && field !== '' ? { field } : {}),
      message: `the API refuses it: ${messageOf(error)}`,
    };
  }

  /** Each mistake is logged once, not with each look at the folder. */
  private report(mistakes: readonly ManifestMistake[]): void {
    const texts = new Set(mistakes.map(formatMistake));
    for (const mistake of mistakes) {
      const text = formatMistake(mistake);
      if (!this.reported.has(text)) this.deps.log.warn({ ...mistake }, `mistake in a manifest: ${text}`);
    }
    this.reported = texts;
    this.current = mistakes;
  }
}

function keyFor(type: ResourceType, object: KubeObject): string {
  return `${type.plural}/${keyOf(object)}`;
}

async function inParallel<T>(items: readonly T[], run: (item: T) => Promise<void>): Promise<void> {
  const waiting = [...items];
  const worker = async (): Promise<void> => {
    for (let item = waiting.shift(); item !== undefined; item = waiting.shift()) await run(item);
  };
  await Promise.all(Array.from({ length: Math.min(PARALLEL, items.length) }, worker));
}
