import type { CgroupCounters } from '../../host/counters/port.ts';

interface Sample {
  readonly cpuNanoseconds: number;
  readonly atMs: number;
}

/** Shorter spans say little: the kernel counts CPU time in ticks. */
const SHORTEST_MS = 1000;
/** How far apart two measurements are at least that others are compared with. */
const SPAN_MS = 10_000;

export interface CpuRate {
  /** Billionths of a CPU. */
  readonly nanoCores: number;
  readonly spanMs: number;
}

/** What happened longer ago than this says nothing of now. */
const LONGEST_MS = 120_000;

interface Track {
  /** What a measurement is compared with. */
  base: Sample;
  /** What will be that once it is old enough. */
  next: Sample | undefined;
  latest: Sample;
}

/** CPU use between two measurements of the same thing. */
export class CpuRates {
  private readonly tracks = new Map<string, Track>();

  /** Since an earlier measurement of `key`, 10 to 20 s ago where there is one; undefined while there is none. */
  rate(key: string, { cpuNanoseconds, atMs }: Pick<CgroupCounters, 'cpuNanoseconds' | 'atMs'>): CpuRate | undefined {
    if (cpuNanoseconds === undefined) return undefined;
    // Of all that was counted, no more than this is kept.
    const sample: Sample = { cpuNanoseconds, atMs };
    const track = this.tracks.get(key);
    // Another container has the key now, or the clock was set back.
    if (
      track === undefined ||
      sample.cpuNanoseconds < track.latest.cpuNanoseconds ||
      sample.atMs < track.latest.atMs ||
      sample.atMs - track.latest.atMs > LONGEST_MS
    ) {
      this.tracks.set(key, { base: sample, next: undefined, latest: sample });
      return undefined;
    }
    track.latest = sample;
    if (track.next !== undefined && sample.atMs - track.next.atMs >= SPAN_MS) {
      track.base = track.next;
      track.next = sample;
    } else if (sample.atMs - track.base.atMs >= SPAN_MS) track.next ??= sample;
    const span = sample.atMs - track.base.atMs;
    if (span < SHORTEST_MS) return undefined;
    // Nanoseconds in a millisecond are millionths of a CPU.
    const nanoCores = Math.round(((sample.cpuNanoseconds - track.base.cpuNanoseconds) / span) * 1000);
    return { nanoCores, spanMs: span };
  }

  forgetOthers(keys: ReadonlySet<string>): void {
    for (const key of this.tracks.keys()) if (!keys.has(key)) this.tracks.delete(key);
  }
}
