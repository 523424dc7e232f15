import { describe, expect, it } from 'vitest';
import { Closers } from '../../../src/daemon/closers.ts';
import { type Logger, silent } from '../../../src/kit/log.ts';

describe('Closers', () => {
  it('ends everything in the reverse order, one after the other, whatever fails', async () => {
    const said: string[] = [];
    const log: Logger = {
      ...silent,
      error: (fields) => said.push(`failed ${String(fields['what'])}`),
      child: () => log,
    };
    const closers = new Closers(log);
    closers.add('first', () => said.push('first'));
    closers.add('second', async () => {
      await new Promise((resolve) => setImmediate(resolve));
      said.push('second');
    });
    closers.add('third', () => {
      throw new Error('no');
    });
    await closers.close();
    await closers.close();
    expect(said).toEqual(['failed third', 'second', 'first']);
  });

  it('what comes after the end is ended at once', async () => {
    const closers = new Closers(silent);
    await closers.close();
    let ended = false;
    closers.add('late', () => {
      ended = true;
    });
    await new Promise((resolve) => setImmediate(resolve));
    expect(ended).toBe(true);
  });
});
