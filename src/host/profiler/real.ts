import { Session } from 'node:inspector/promises';
import { getHeapSnapshot } from 'node:v8';
import type { Clock } from '../../kit/clock.ts';
import { CodedError } from '../../kit/errors.ts';
import type { Profiler } from './port.ts';

/** V8's own profilers, by the inspector's protocol without its port. */
export class V8Profiler implements Profiler {
  private readonly clock: Pick<Clock, 'sleep'>;
  private taking = false;

  constructor(deps: { readonly clock: Pick<Clock, 'sleep'> }) {
    this.clock = deps.clock;
  }

  get busy(): boolean {
    return this.taking;
  }

  cpu(ms: number, signal: AbortSignal): Promise<string> {
    return this.alone(async (session) => {
      await session.post('Profiler.enable');
      await session.post('Profiler.start');
      await this.clock.sleep(ms, signal);
      return JSON.stringify((await session.post('Profiler.stop')).profile);
    });
  }

  allocations(ms: number, signal: AbortSignal): Promise<string> {
    return this.alone(async (session) => {
      await session.post('HeapProfiler.enable');
      await session.post('HeapProfiler.startSampling');
      await this.clock.sleep(ms, signal);
      return JSON.stringify((await session.post('HeapProfiler.stopSampling')).profile);
    });
  }

  async heap(sink: (chunk: Buffer) => Promise<void>, signal: AbortSignal): Promise<void> {
    await this.alone(async () => {
      for await (const chunk of getHeapSnapshot()) {
        signal.throwIfAborted();
        await sink(chunk as Buffer);
      }
    });
  }

  active(): ReadonlyMap<string, number> {
    const counts = new Map<string, number>();
    for (const kind of process.getActiveResourcesInfo()) counts.set(kind, (counts.get(kind) ?? 0) + 1);
    return counts;
  }

  private async alone<T>(take: (session: Session) => Promise<T>): Promise<T> {
    if (this.taking) throw new CodedError('Unavailable', 'a profile is being taken already; try again when it is done');
    this.taking = true;
    const session = new Session();
    try {
      session.connect();
      return await take(session);
    } finally {
      // Ends what was not stopped.
      session.disconnect();
      this.taking = false;
    }
  }
}
