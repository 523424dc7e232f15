import { describe, expect, it } from 'vitest';
import { rulesFollowed } from '../../../src/daemon/services.ts';
import { ManualClock } from '../../../src/kit/manual-clock.ts';

/** A Service loop whose rules are in the kernel when `settle` says so. */
function world(last: { at?: number; error?: string }) {
  const clock = new ManualClock();
  let settle = (): void => {};
  const pending = new Promise<void>((resolve) => {
    settle = resolve;
  });
  const loop = {
    settled: (signal?: AbortSignal) =>
      Promise.race([
        pending,
        new Promise<void>((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason))),
      ]),
    status: () => ({
      synced: true,
      families: [
        {
          family: 'IPv4' as const,
          backend: 'nftables',
          lastSyncedAt: last.at,
          pendingSince: undefined,
          lastError: last.error,
          setAside: [],
        },
      ],
    }),
  };
  let done = false;
  const followed = rulesFollowed(loop, clock).then(() => {
    done = true;
  });
  return { clock, settle, followed, isDone: () => done };
}

describe('SIGTERM follows the Service rules', () => {
  it('at once where they changed long ago', async () => {
    const last = { at: 0 };
    const { clock, settle, followed } = world(last);
    last.at = clock.now() - 1000;
    settle();
    await followed;
  });

  it('by as long as a server needs for connections that were made before', async () => {
    const last = { at: 0 };
    const { clock, settle, followed, isDone } = world(last);
    last.at = clock.now() - 10;
    settle();
    await clock.advance(39);
    expect(isDone()).toBe(false);
    await clock.advance(1);
    await followed;
  });

  it('after a second where the kernel refuses them', async () => {
    const { clock, followed, isDone } = world({ error: 'no such table' });
    await clock.advance(999);
    expect(isDone()).toBe(false);
    await clock.advance(1);
    await followed;
  });

  it('after five where they only take long', async () => {
    const { clock, followed, isDone } = world({});
    await clock.advance(4999);
    expect(isDone()).toBe(false);
    await clock.advance(1);
    await followed;
  });
});
