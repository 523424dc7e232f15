import { basename, dirname, join } from 'node:path';
import type { Files } from '../../host/files/port.ts';
import type { WatchDirectory } from '../../host/watch/port.ts';
import type { Clock, Timer } from '../../kit/clock.ts';
import { CodedError, hasCode, messageOf } from '../../kit/errors.ts';
import type { Logger } from '../../kit/log.ts';
import { keyOf } from '../../model/meta.ts';
import type { Pod } from '../../model/pod.ts';
import type { ManifestDecoder } from './port.ts';
import { staticPod } from './static-pod.ts';

export interface FileSourceOptions {
  /** A file or a folder: KubeletConfiguration staticPodPath. */
  readonly path: string;
  readonly nodeName: string;
  /** Between two looks at everything, milliseconds (fileCheckFrequency, 20 s). */
  readonly checkMs: number;
}

export interface FileSourceDeps {
  readonly files: Pick<Files, 'stat' | 'list' | 'read'>;
  readonly watch: WatchDirectory;
  readonly decoder: ManifestDecoder;
  readonly clock: Clock;
  readonly log: Logger;
  /** All pods of this source, each time any of them may have changed. */
  readonly report: (pods: readonly Pod[]) => void;
}

/** kubelet's maxConfigLength. */
const MAX_BYTES = 10 * 1024 * 1024;
/** Editors and copies write in several steps: a file is read once it has been left alone for this long. */
const SETTLE_MS = 100;
/** A folder that cannot be watched is tried again after this long. */
const WATCH_RETRY_MS = 1000;

interface Known {
  /** What was read, to be judged again only when it differs. */
  readonly text: string;
  readonly pod: Pod | undefined;
  readonly problem: string | undefined;
}

/**
 * Static pods from a file, or from the files of a folder (not below it, and none whose name starts with a dot), one Pod
 * each (pkg/kubelet/config/file.go, file_linux.go). A file that turns bad keeps its last good pod until the next look at
 * everything, as with kubelet: a half-written file does not end its pod, a broken one does after `checkMs`. A folder or
 * file that is absent has no pods; one that cannot be read leaves the pods as they are.
 */
export class FileSource {
  private readonly options: FileSourceOptions;
  private readonly deps: FileSourceDeps;
  private readonly path: string;
  /** By path. */
  private readonly known = new Map<string, Known>();
  /** The pods that stand, by the path that they come from. */
  private pods = new Map<string, Pod>();
  private readonly told = new Set<string>();
  private changed = new Set<string>();
  private settle: Timer | undefined;
  private wake: (() => void) | undefined;

  constructor(options: FileSourceOptions, deps: FileSourceDeps) {
    this.options = options;
    this.deps = deps;
    this.path = options.path.length > 1 ? options.path.replace(/\/+$/, '') : options.path;
  }

  async run(signal: AbortSignal): Promise<void> {
    const { clock } = this.deps;
    const unwatch = this.watch(signal);
    try {
      let scanAt = clock.monotonic();
      while (!signal.aborted) {
        if (clock.monotonic() >= scanAt) {
          this.changed.clear();
          await this.scan();
          scanAt = clock.monotonic() + this.options.checkMs;
        }
        await this.untilWoken(scanAt - clock.monotonic(), signal);
        if (this.changed.size > 0 && clock.monotonic() < scanAt) await this.readChanged();
      }
    } finally {
      unwatch();
      this.settle?.cancel();
    }
  }

  /** One look at everything. */
  async scan(): Promise<void> {
    const { files } = this.deps;
    let paths: readonly string[];
    let single = false;
    try {
      const info = await files.stat(this.path);
      if (info === undefined) {
        this.tell(this.path, 'does not exist; there are no static pods in it');
        paths = [];
      } else if (info.kind === 'directory') {
        this.told.delete(this.path);
        const names = (await files.list(this.path)) ?? [];
        paths = names
          .filter((name) => !name.startsWith('.'))
          .sort()
          .map((name) => join(this.path, name));
      } else if (info.kind === 'file') {
        paths = [this.path];
        single = true;
      } else {
        this.tell(this.path, 'is neither a file nor a folder; its pods stay as they are');
        return;
      }
    } catch (error) {
      this.tell(this.path, `cannot be read; its pods stay as they are: ${messageOf(error)}`);
      return;
    }
    const pods = new Map<string, Pod>();
    for (const path of paths) {
      const pod = await this.read(path);
      if (pod !== undefined) pods.set(path, pod);
      // With one file only there is nothing else that its mistake could be measured against: kubelet leaves all as it is.
      else if (single) return;
    }
    for (const path of this.known.keys()) if (!paths.includes(path)) this.known.delete(path);
    this.pods = pods;
    this.report();
  }

  private async readChanged(): Promise<void> {
    const paths = [...this.changed];
    this.changed.clear();
    for (const path of paths) {
      const { kind } = (await this.deps.files.stat(path).catch(() => undefined)) ?? {};
      if (kind === undefined) {
        this.known.delete(path);
        this.pods.delete(path);
        continue;
      }
      const pod = await this.read(path);
      if (pod === undefined) continue;
      // The newest comes last: of two files with the same pod the one written last counts.
      this.pods.delete(path);
      this.pods.set(path, pod);
    }
    this.report();
  }

  /** The pod of a file; undefined when it has none, which has been told. */
  private async read(path: string): Promise<Pod | undefined> {
    const { files, decoder, clock, log } = this.deps;
    const before = this.known.get(path);
    try {
      const info = await files.stat(path);
      if (info?.kind === 'directory') {
        this.tell(path, 'is a folder; folders in the static pod path are passed over');
        return undefined;
      }
      if (info !== undefined && info.kind !== 'file') {
        this.tell(path, `is a ${info.kind}; a file is expected`);
        return undefined;
      }
      const bytes = await files.read(path, { maxBytes: MAX_BYTES + 1 });
      if (bytes.length > MAX_BYTES) throw new CodedError('InvalidObject', `${path}: is larger than ${MAX_BYTES} bytes`);
      const text = bytes.toString();
      if (before?.text === text) return before.pod;
      const [decoded] = await decoder.decode(text, path);
      if (decoded === undefined) throw new CodedError('InvalidObject', `${path}: is empty, a Pod is expected`);
      const { nodeName } = this.options;
      const pod = staticPod(decoded, { kind: 'file', path, nodeName }, { nodeName, seenAt: clock.now() });
      for (const warning of decoded.warnings) log.warn({ file: path }, warning);
      this.known.set(path, { text, pod, problem: undefined });
      this.told.delete(path);
      return pod;
    } catch (error) {
      // It may have gone between two steps.
      if (hasCode(error, 'NotFound')) return undefined;
      const problem = messageOf(error);
      if (before?.problem !== problem) this.told.delete(path);
      if (before !== undefined || hasCode(error, 'InvalidObject')) {
        this.known.set(path, { text: '', pod: undefined, problem });
      }
      this.tell(path, problem);
      return undefined;
    }
  }

  private report(): void {
    const byName = new Map<string, Pod>();
    for (const [path, pod] of this.pods) {
      const key = keyOf(pod);
      if (byName.has(key)) this.tell(`${path} ${key}`, `another file has a pod ${key} too; this one counts`);
      byName.set(key, pod);
    }
    this.deps.report([...byName.values()]);
  }

  /** Once, until it is different. */
  private tell(path: string, problem: string): void {
    if (this.told.has(path)) return;
    this.told.add(path);
    this.deps.log.error({ file: path, problem }, 'a static pod manifest cannot be used');
  }

  // ── watching ──────────────────────────────────────────────────────────────────────────────────────────────────────

  private watch(signal: AbortSignal): () => void {
    const { clock, log, files, watch } = this.deps;
    let watcher: { close(): void } | undefined;
    let retry: Timer | undefined;
    let first = true;
    const start = async (): Promise<void> => {
      const info = await files.stat(this.path).catch(() => undefined);
      if (signal.aborted) return;
      // A file is watched by way of its folder: most editors put another file in its place.
      const alone = info?.kind === 'file';
      const directory = alone ? dirname(this.path) : this.path;
      if (info === undefined) return again();
      watcher = watch(
        directory,
        (name) => {
          if (alone && name !== undefined && name !== basename(this.path)) return;
          if (name?.startsWith('.') === true) return;
          this.note(alone ? this.path : name === undefined ? undefined : join(this.path, name));
        },
        (error) => {
          log.debug({ directory, error: messageOf(error) }, 'a folder of static pods is not watched; trying again');
          again();
        },
      );
      // What changed while nobody watched.
      if (!first) this.note(undefined);
      first = false;
    };
    const again = (): void => {
      first = false;
      if (signal.aborted) return;
      retry = clock.after(WATCH_RETRY_MS, () => void start());
    };
    void start();
    return () => {
      retry?.cancel();
      watcher?.close();
    };
  }

  /** `path` undefined: any of them. */
  private note(path: string | undefined): void {
    if (path === undefined) for (const known of this.known.keys()) this.changed.add(known);
    this.changed.add(path ?? this.path);
    this.settle?.cancel();
    this.settle = this.deps.clock.after(SETTLE_MS, () => this.wake?.());
  }

  private untilWoken(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        timer.cancel();
        signal.removeEventListener('abort', done);
        this.wake = undefined;
        resolve();
      };
      const timer = this.deps.clock.after(Math.max(0, ms), done);
      this.wake = done;
      signal.addEventListener('abort', done, { once: true });
      if (signal.aborted) done();
    });
  }
}
