import type { FilesystemCapacity, MachinePort } from '../host/machine/port.ts';
import type { Clock } from '../kit/clock.ts';
import { messageOf } from '../kit/errors.ts';
import type { Logger } from '../kit/log.ts';
import type { DiskLayout, Observation, Observations, Threshold } from '../model/eviction.ts';
import {
  afterObservation,
  type EvictionOptions,
  evictionThresholds,
  noPressure,
  type PressureKind,
  type PressureState,
  pressuresOf,
} from './pressure.ts';
import { waitAtMost } from './wait-at-most.ts';

/** Memory as the kernel counts it for a cgroup: what is in use less what it takes back first is the working set. */
export interface MemoryUse {
  readonly usedBytes: number;
  readonly inactiveFileBytes: number;
  readonly limitBytes: number;
}

export interface PressureMonitorOptions extends EvictionOptions {
  /** The directory whose file system is nodefs. */
  readonly rootDir: string;
  readonly maxPids: number;
}

export interface PressureMonitorDeps {
  readonly machine: Pick<MachinePort, 'filesystem' | 'load'>;
  /** Of the whole machine, and of the cgroup of all pods if it has a limit. */
  readonly memory: () => Promise<{ readonly node: MemoryUse; readonly pods: MemoryUse | undefined }>;
  /** Where the runtime keeps images, and containers' writable layers if elsewhere. */
  readonly imageMounts: () => Promise<{ readonly images: string | undefined; readonly containers: string | undefined }>;
  /** Told when the images' file system has no size, which no real one has. */
  readonly invalidDiskCapacity?: () => void;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** eviction_manager.go, evictionMonitoringPeriod. */
const PERIOD_MS = 10_000;
/** A source that hangs (a runtime, a dead disk) must not hold up the heartbeat. */
const PATIENCE_MS = 2000;

/** A measurement, for those who act on it. */
export interface PressureLook {
  readonly layout: DiskLayout;
  readonly observations: Observations;
  /** All there are. */
  readonly thresholds: readonly Threshold[];
  /** Those crossed for longer than their grace period, or not yet back by the minimum reclaim. */
  readonly met: readonly Threshold[];
}

/** Measures what eviction signals stand for, and knows the pressures that follow. Evicts nothing. */
export class PressureMonitor {
  private readonly options: PressureMonitorOptions;
  private readonly deps: PressureMonitorDeps;
  private state: PressureState = noPressure;
  private thresholds: readonly Threshold[] = [];
  private layout: DiskLayout | undefined;
  private observed: Observations = {};
  private measuredAt = Number.NEGATIVE_INFINITY;
  private measurements = 0;
  private measuring: Promise<void> | undefined;
  private readonly failing = new Set<string>();
  private nodefs: FilesystemCapacity | undefined;

  constructor(options: PressureMonitorOptions, deps: PressureMonitorDeps) {
    this.options = options;
    this.deps = deps;
  }

  /** The pressures of now, measured again when the last time is long enough ago. Waits for a slow source only shortly. */
  async read(signal?: AbortSignal): Promise<ReadonlySet<PressureKind>> {
    const { clock } = this.deps;
    if (clock.monotonic() - this.measuredAt >= PERIOD_MS * 0.9 && this.measuring === undefined) {
      this.measuring = this.measure().finally(() => {
        this.measuring = undefined;
      });
    }
    if (this.measuring !== undefined) await waitAtMost(this.measuring, PATIENCE_MS, clock, signal);
    return this.pressures;
  }

  /** Measures now. Undefined when a source is too slow to wait for: what is old is nothing to act on. */
  async look(signal?: AbortSignal): Promise<PressureLook | undefined> {
    const { clock } = this.deps;
    // One that is under way may have read already what has changed since.
    if (this.measuring !== undefined) await waitAtMost(this.measuring, PATIENCE_MS, clock, signal);
    if (this.measuring !== undefined) return undefined;
    const before = this.measurements;
    const measuring = this.measure().finally(() => {
      this.measuring = undefined;
    });
    this.measuring = measuring;
    await waitAtMost(measuring, PATIENCE_MS, clock, signal);
    if (this.layout === undefined || this.measurements === before) return undefined;
    const { layout, observed: observations, thresholds } = this;
    return { layout, observations, thresholds, met: [...this.state.met] };
  }

  get pressures(): ReadonlySet<PressureKind> {
    return pressuresOf(this.state, this.options.transitionMs, this.deps.clock.monotonic());
  }

  /** The file system of the pod directories, as it was measured last. */
  get nodeFilesystem(): FilesystemCapacity | undefined {
    return this.nodefs;
  }

  /** What was measured last, for logs and stats. */
  get observations(): Observations {
    return this.observed;
  }

  private async measure(): Promise<void> {
    const { clock, machine, logger } = this.deps;
    const { rootDir, maxPids } = this.options;
    const [nodefs, mounts, memory, load] = await Promise.all([
      this.source('nodefs', () => machine.filesystem(rootDir)),
      this.source('image file system', () => this.deps.imageMounts()),
      this.source('memory', () => this.deps.memory()),
      this.source('processes', () => machine.load()),
    ]);
    const [images, containers] = await Promise.all(
      [mounts?.images, mounts?.containers].map((path) =>
        path === undefined ? undefined : this.source(`file system of ${path}`, () => machine.filesystem(path)),
      ),
    );
    this.nodefs = nodefs ?? this.nodefs;
    if (images !== undefined && images.capacityBytes === 0) this.deps.invalidDiskCapacity?.();
    const containerfs = containers ?? images;
    const layout = layoutOf(nodefs, images, containers);
    if (this.layout !== layout || this.thresholds.length === 0) {
      this.layout = layout;
      this.thresholds = evictionThresholds(this.options, layout);
    }
    this.observed = {
      ...(memory === undefined ? {} : { 'memory.available': memoryLeft(memory.node) }),
      ...(memory?.pods === undefined ? {} : { 'allocatableMemory.available': memoryLeft(memory.pods) }),
      ...bytesAndInodes('nodefs', nodefs),
      ...bytesAndInodes('imagefs', images),
      ...bytesAndInodes('containerfs', containerfs),
      ...(load === undefined || load.tasks === 0
        ? {}
        : { 'pid.available': { available: maxPids - load.tasks, capacity: maxPids } }),
    };
    const now = clock.monotonic();
    const before = this.state;
    this.state = afterObservation(before, this.thresholds, this.observed, now);
    for (const { signal } of this.state.since.keys()) {
      if ([...before.since.keys()].some((threshold) => threshold.signal === signal)) continue;
      logger.warn({ signal, ...this.observed[signal] }, 'an eviction threshold is crossed');
    }
    this.measuredAt = now;
    this.measurements++;
  }

  /** A source that fails is told of once, until it works again. */
  private async source<T>(what: string, ask: () => Promise<T>): Promise<T | undefined> {
    try {
      const answer = await ask();
      this.failing.delete(what);
      return answer;
    } catch (error) {
      if (!this.failing.has(what)) {
        this.failing.add(what);
        this.deps.logger.warn({ what, error: messageOf(error) }, 'could not be measured; it counts as no pressure');
      }
      return undefined;
    }
  }
}

function memoryLeft({ usedBytes, inactiveFileBytes, limitBytes }: MemoryUse): Observation {
  const workingSet = Math.max(0, usedBytes - inactiveFileBytes);
  return { available: Math.max(0, limitBytes - workingSet), capacity: limitBytes };
}

function bytesAndInodes(
  name: 'nodefs' | 'imagefs' | 'containerfs',
  capacity: FilesystemCapacity | undefined,
): Observations {
  if (capacity === undefined) return {};
  return {
    [`${name}.available`]: { available: capacity.availableBytes, capacity: capacity.capacityBytes },
    // File systems without inodes of their own (btrfs) say 0 of 0.
    ...(capacity.inodes === 0
      ? {}
      : { [`${name}.inodesFree`]: { available: capacity.inodesFree, capacity: capacity.inodes } }),
  };
}

function layoutOf(
  nodefs: FilesystemCapacity | undefined,
  images: FilesystemCapacity | undefined,
  containers: FilesystemCapacity | undefined,
): DiskLayout {
  if (images === undefined || nodefs === undefined || images.device === nodefs.device) return 'single';
  return containers !== undefined && containers.device !== images.device ? 'split' : 'imagefs';
}
