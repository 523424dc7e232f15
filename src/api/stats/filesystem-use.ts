import { setImmediate as nextTurn } from 'node:timers/promises';
import type { CriRuntime } from '../../host/cri/port.ts';
import type { FilesystemCapacity, MachinePort } from '../../host/machine/port.ts';
import type { Clock } from '../../kit/clock.ts';
import { messageOf } from '../../kit/errors.ts';
import type { Logger } from '../../kit/log.ts';

export interface FilesystemUseDeps {
  readonly cri: Pick<CriRuntime, 'listContainerStats' | 'imageFsInfo'>;
  readonly machine: Pick<MachinePort, 'filesystem'>;
  readonly volumesOf: VolumesOf;
  readonly clock: Clock;
  readonly log: Logger;
}

export interface FilesystemUseOptions {
  readonly rootDir: string;
}

export interface FilesystemSize extends FilesystemCapacity {
  readonly atMs: number;
}

interface Used {
  readonly atMs: number;
  readonly usedBytes: number;
  readonly inodesUsed: number;
}

export interface FilesystemUse {
  /** What holds the pods' directories. */
  readonly node: FilesystemSize | undefined;
  readonly image: (FilesystemSize & Used) | undefined;
  readonly container: (FilesystemSize & Used) | undefined;
  /** Writable layers by container id. */
  readonly containers: ReadonlyMap<string, Used>;
  readonly volumesOf: VolumesOf;
}

/** How full a pod's volumes are, by UID and by their names: as it was measured last. */
type VolumesOf = (podUid: string) => ReadonlyMap<string, VolumeUse>;

interface VolumeUse extends Used, Omit<FilesystemSize, 'device'> {
  /** Its space is the node's own: it counts as the pod's ephemeral storage. */
  readonly ephemeral: boolean;
  readonly claim?: { readonly namespace: string; readonly name: string };
  readonly condition?: { readonly abnormal: boolean };
}

/** How long an answer is good, in milliseconds: the runtime looks at its layers every 10 s. */
const FRESH_MS = 10_000;

/** What is used of file systems. It takes longer than counters do: an answer is shared and, once old, renewed behind. */
export class FilesystemUseSource {
  private readonly options: FilesystemUseOptions;
  private readonly deps: FilesystemUseDeps;
  private last: FilesystemUse | undefined;
  private lastAt = Number.NEGATIVE_INFINITY;
  private pending: Promise<FilesystemUse> | undefined;

  constructor(options: FilesystemUseOptions, deps: FilesystemUseDeps) {
    this.options = options;
    this.deps = deps;
  }

  /** The last answer, if there is one; it is renewed when it is old. Never throws. */
  async get(): Promise<FilesystemUse> {
    const { clock } = this.deps;
    if (this.pending === undefined && clock.monotonic() - this.lastAt >= FRESH_MS) {
      this.lastAt = clock.monotonic();
      // Not before an answer is written: the runtime's work for it takes the processor from whoever waits.
      const begun = this.last === undefined ? this.measure() : nextTurn().then(() => this.measure());
      this.pending = begun.finally(() => {
        this.pending = undefined;
      });
    }
    return this.last ?? (await (this.pending ?? this.measure()));
  }

  private async measure(): Promise<FilesystemUse> {
    const { cri } = this.deps;
    const [node, info, stats] = await Promise.all([
      this.size(this.options.rootDir),
      this.orNothing('the image file system', cri.imageFsInfo()),
      this.orNothing('the writable layers', cri.listContainerStats()),
    ]);
    const whole = async (of: (Used & { readonly mountpoint: string }) | undefined) => {
      const size = of === undefined ? undefined : await this.size(of.mountpoint);
      return of === undefined || size === undefined ? undefined : { ...of, ...size };
    };
    const containers = new Map<string, Used>();
    for (const { id, writableLayer } of stats ?? []) if (writableLayer !== undefined) containers.set(id, writableLayer);
    this.last = {
      node,
      image: await whole(info?.imageFilesystems[0]),
      container: await whole(info?.containerFilesystems[0] ?? info?.imageFilesystems[0]),
      containers,
      volumesOf: this.deps.volumesOf,
    };
    return this.last;
  }

  private async size(path: string): Promise<FilesystemSize | undefined> {
    const { machine, clock } = this.deps;
    const capacity = await this.orNothing(path, machine.filesystem(path));
    return capacity === undefined ? undefined : { ...capacity, atMs: clock.now() };
  }

  private async orNothing<T>(what: string, asked: Promise<T>): Promise<T | undefined> {
    try {
      return await asked;
    } catch (error) {
      this.deps.log.debug({ what, error: messageOf(error) }, 'what is used cannot be told');
      return undefined;
    }
  }
}
