import { join } from 'node:path';
import type { ApiPodStatusWriter } from '../cluster/api-pod-status-writer.ts';
import { MirrorPods } from '../cluster/mirror-pods.ts';
import type { ApiClient, EventRecorder } from '../cluster/port.ts';
import type { Files } from '../host/files/port.ts';
import type { Node } from '../model/node.ts';
import type { Pod } from '../model/pod.ts';
import { isMirrorPod } from '../model/static-pod.ts';
import type { PodLoop } from '../pods/loop.ts';
import { CheckpointFile } from '../pods/sources/checkpoint-file.ts';
import { CheckpointKeeper } from '../pods/sources/checkpoint-keeper.ts';
import { MergedPods } from '../pods/sources/merged-pods.ts';
import type { StaticSource } from '../pods/sources/port.ts';
import type { Caches } from './caches.ts';
import { type Foundation, runPart } from './foundation.ts';

export interface PodSourcesDeps {
  readonly caches: Pick<Caches, 'pods' | 'node' | 'services'>;
  readonly events: EventRecorder;
  readonly files: Files;
  /** The API is in this process: what it has survives a restart by itself. */
  readonly embedded: boolean;
}

export interface DaemonPodSources {
  readonly pods: MergedPods;
  /** undefined: nothing is kept for a start without the API. */
  readonly checkpoint: CheckpointKeeper | undefined;
  /** Shows static pods in the API, now that they can run. */
  run(parts: {
    readonly api: ApiClient;
    readonly loop: PodLoop;
    readonly statuses: ApiPodStatusWriter;
    readonly node: () => Node | undefined;
  }): void;
}

/**
 * How long the pods wait for the API's first list before the others begin: what already runs gets its last status from
 * there, and with it its readiness. An API that fails at once, as one that is itself a static pod does, costs nothing.
 */
const FIRST_LIST_MS = 2000;
const LOOK_MS = 50;
/** The API is given this long before the last known pods are started without its word. */
const API_PATIENCE_MS = 5000;
/** The systemd credential (LoadCredential=, LoadCredentialEncrypted=) that is the checkpoint's key, if it is given. */
const CREDENTIAL = 'deckhand.checkpoint-key';
/** A source that cannot be read must not hold up the others. */
const FIRST_READ_MS = 2000;

/** Starts the sources of pods beside the API, and puts all of them together. */
export async function openPodSources(foundation: Foundation, deps: PodSourcesDeps): Promise<DaemonPodSources> {
  const { config, clock, log, metrics, closers } = foundation;
  const { caches, events, files } = deps;
  const { path, url, urlHeader, fileCheckMs, httpCheckMs } = config.staticPods;
  const { nodeName } = config;
  const logger = log.child({ part: 'pod sources' });
  const configured: StaticSource[] = [
    ...(path === undefined ? [] : ['file' as const]),
    ...(url === undefined ? [] : ['http' as const]),
  ];
  const pods = new MergedPods({ sources: configured }, { api: caches.pods, events, log: logger });
  closers.add('pod sources', () => pods.close());
  const firstReads: Promise<void>[] = [];
  const reporter = (source: StaticSource): ((found: readonly Pod[]) => void) => {
    let first: () => void = () => {};
    firstReads.push(new Promise((resolve) => (first = resolve)));
    return (found) => {
      pods.setStatic(source, found);
      first();
    };
  };
  if (configured.length > 0) {
    // Only nodes with static pods pay for what reads them.
    const { StaticPodDecoder } = await import('./static-pod-decoder.ts');
    const decoder = new StaticPodDecoder();
    if (path !== undefined) {
      const { FileSource } = await import('../pods/sources/file-source.ts');
      const { watchDirectory } = await import('../host/watch/real.ts');
      const source = new FileSource(
        { path, nodeName, checkMs: fileCheckMs },
        { files, watch: watchDirectory, decoder, clock, log: logger, report: reporter('file') },
      );
      runPart(foundation, 'static pod files', (signal) => source.run(signal));
    }
    if (url !== undefined) {
      const { UrlSource } = await import('../pods/sources/url-source.ts');
      const { RealHttpGet } = await import('../host/http/real.ts');
      const source = new UrlSource(
        { url, headers: urlHeader, nodeName, checkMs: httpCheckMs },
        { http: new RealHttpGet(), decoder, clock, log: logger, report: reporter('http') },
      );
      runPart(foundation, 'static pod URL', (signal) => source.run(signal));
    }
  }
  const checkpoint = await openCheckpoint(foundation, deps);
  runPart(foundation, 'first pods', async (signal) => {
    const listed = caches.pods.whenSynced(signal).then(() => pods.apiListed());
    if (configured.length > 0) {
      await Promise.race([Promise.all(firstReads), clock.sleep(FIRST_READ_MS, signal)]);
      for (let waited = 0; waited < FIRST_LIST_MS && !caches.pods.synced; waited += LOOK_MS) {
        if (caches.pods.lastFailure !== undefined) break;
        await clock.sleep(LOOK_MS, signal);
      }
      if (caches.pods.synced) await listed;
      pods.open();
    }
    if (checkpoint !== undefined) {
      await Promise.race([listed, clock.sleep(API_PATIENCE_MS, signal)]);
      if (!caches.pods.synced) {
        const restored = await checkpoint.restore();
        if (restored.length > 0)
          logger.warn({ pods: restored.length }, 'the API does not answer: starting the last known pods');
        pods.setCheckpoint(restored);
        pods.open();
      }
    }
    await listed;
    pods.open();
  });
  if (checkpoint !== undefined) runPart(foundation, 'checkpoint', (signal) => checkpoint.run(signal));
  return {
    pods,
    checkpoint,
    run: ({ api, loop, statuses, node }) => {
      const mirrors = new MirrorPods({
        api,
        pods: caches.pods,
        statics: pods,
        isEnding: (key) => loop.isEndingStatic(key),
        node,
        clock,
        log: log.child({ part: 'mirror pods' }),
        metrics,
      });
      const stops = [
        pods.onComplete(() => {
          mirrors.requestAll();
          statuses.lookAgain();
        }),
        caches.node.subscribe(({ previous, current }) => {
          if (previous?.metadata.uid !== current?.metadata.uid) mirrors.requestAll();
        }),
        // The status of a static pod waits for its mirror pod.
        caches.pods.subscribe(({ previous, current }) => {
          if (current === undefined || !isMirrorPod(current)) return;
          if (previous?.metadata.uid !== current.metadata.uid) statuses.lookAgain();
        }),
      ];
      runPart(foundation, 'mirror pods', async (signal) => {
        await mirrors.run(signal);
        for (const stop of stops) stop();
      });
    },
  };
}

/** The embedded API keeps its objects on this node's disk already: beside it a checkpoint would never be read. */
async function openCheckpoint(foundation: Foundation, deps: PodSourcesDeps): Promise<CheckpointKeeper | undefined> {
  const { config, clock, log } = foundation;
  if (!config.checkpoint.enabled || deps.embedded) return undefined;
  const logger = log.child({ part: 'checkpoint' });
  const credentials = process.env['CREDENTIALS_DIRECTORY'];
  const credential = credentials === undefined ? undefined : join(credentials, CREDENTIAL);
  const file = new CheckpointFile(
    {
      path: join(config.rootDir, 'checkpoint', 'pods'),
      keyPath: join(config.certificates.directory, 'checkpoint.key'),
      credentialPath:
        credential !== undefined && (await deps.files.stat(credential)) !== undefined ? credential : undefined,
      nodeName: config.nodeName,
    },
    { files: deps.files, log: logger },
  );
  const { pods, services } = deps.caches;
  return new CheckpointKeeper({ file, pods, services, clock, log: logger });
}
