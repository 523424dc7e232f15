import type { NetnsDialer } from './netns-dialer.ts';
import { pause } from './wait-for.ts';

/** One request of a stream: who answered, or why nobody did. Times on performance.now(). */
export interface Sample {
  readonly startedAt: number;
  readonly ms: number;
  /** The body's first line. */
  readonly answer: string | undefined;
  readonly error: string | undefined;
}

/** Asks a URL again and again, each time on a new connection, and keeps what came of it. */
export class RequestStream {
  readonly samples: Sample[] = [];
  private stopped = false;
  private readonly loops: Promise<void>[] = [];
  private readonly dialer: NetnsDialer;
  private readonly url: string;

  /** `width` requests at a time, each followed by a pause of `everyMs`. */
  constructor(dialer: NetnsDialer, url: string, everyMs: number, width = 1) {
    this.dialer = dialer;
    this.url = url;
    for (let loop = 0; loop < width; loop++) this.loops.push(this.loop(everyMs));
  }

  get failures(): Sample[] {
    return this.samples.filter((sample) => sample.error !== undefined);
  }

  /** When `name` last answered a request that began after `since`, or undefined. */
  lastAnswerOf(name: string, since: number): number | undefined {
    return this.samples.findLast((sample) => sample.answer === name && sample.startedAt >= since)?.startedAt;
  }

  firstAnswerOf(name: string, since: number): number | undefined {
    return this.samples.find((sample) => sample.answer === name && sample.startedAt >= since)?.startedAt;
  }

  async stop(): Promise<readonly Sample[]> {
    this.stopped = true;
    await Promise.all(this.loops);
    return this.samples;
  }

  private async loop(everyMs: number): Promise<void> {
    while (!this.stopped) {
      this.samples.push(await ask(this.dialer, this.url));
      if (!this.stopped && everyMs > 0) await pause(everyMs);
    }
  }
}

export async function ask(dialer: NetnsDialer, url: string): Promise<Sample> {
  const startedAt = performance.now();
  try {
    const response = await dialer.request(url, { timeoutMs: 5_000 });
    const ms = performance.now() - startedAt;
    if (response.status !== 200) return { startedAt, ms, answer: undefined, error: `HTTP ${response.status}` };
    return { startedAt, ms, answer: response.body.split('\n')[0] ?? '', error: undefined };
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    return { startedAt, ms: performance.now() - startedAt, answer: undefined, error: text };
  }
}

/** The value below which a part (0..1) of the numbers lies. */
export function percentile(numbers: readonly number[], part: number): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
}
