import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../../../src/kit/manual-clock.ts';
import { lateAbort } from '../../../../src/pods/act/late-abort.ts';

describe('lateAbort', () => {
  it('aborts with the same reason, but later', async () => {
    const clock = new ManualClock();
    const first = new AbortController();
    const late = lateAbort(first.signal, 10_000, clock);
    await clock.advance(20_000);
    expect(late.signal.aborted).toBe(false);
    first.abort('why');
    await clock.advance(9_999);
    expect(late.signal.aborted).toBe(false);
    await clock.advance(1);
    expect(late.signal.aborted).toBe(true);
    expect(late.signal.reason).toBe('why');
  });

  it('counts from its making when the first has aborted before', async () => {
    const clock = new ManualClock();
    const late = lateAbort(AbortSignal.abort(), 1_000, clock);
    expect(late.signal.aborted).toBe(false);
    await clock.advance(1_000);
    expect(late.signal.aborted).toBe(true);
  });

  it.each(['before', 'after'])('never aborts once released, %s the first has aborted', async (when) => {
    const clock = new ManualClock();
    const first = new AbortController();
    const late = lateAbort(first.signal, 1_000, clock);
    if (when === 'before') late.release();
    first.abort();
    if (when === 'after') late.release();
    await clock.advance(10_000);
    expect(late.signal.aborted).toBe(false);
  });
});
