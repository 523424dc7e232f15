import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../../../src/kit/manual-clock.ts';
import { FreshReads } from '../../../../src/pods/observe/fresh-reads.ts';

/** Something that changes while it is read: a read takes 10 ms, and finds the value as it was at its start. */
class Source {
  readonly clock = new ManualClock(0);
  readonly reads = new FreshReads();
  readonly found: number[] = [];
  began = 0;
  value = 0;
  failing = false;

  read(key = 'k'): Promise<void> {
    return this.reads.read(key, async (valid) => {
      this.began++;
      const { value, failing } = this;
      await this.clock.sleep(10);
      if (failing) throw new Error('no answer');
      if (valid()) this.found.push(value);
    });
  }
}

describe('FreshReads', () => {
  it('whoever asks during a read gets the one after it, shared by all who do', async () => {
    const source = new Source();
    const first = source.read().then(() => source.found.at(-1));
    await source.clock.advance(5);
    source.value = 1;
    const others = [source.read(), source.read(), source.read()].map((read) => read.then(() => source.found.at(-1)));
    await source.clock.advance(100);
    expect(await first).toBe(0);
    expect(await Promise.all(others)).toEqual([1, 1, 1]);
    expect(source.began).toBe(2);
  });

  it('asking between the end of one and the start of the next makes no third', async () => {
    const source = new Source();
    let extra: Promise<void> | undefined;
    void source.read().then(() => {
      extra = source.read();
    });
    await source.clock.advance(1);
    void source.read();
    await source.clock.advance(100);
    await extra;
    expect(source.began).toBe(2);
  });

  it('keys do not wait for each other', async () => {
    const source = new Source();
    void source.read('a');
    void source.read('b');
    await source.clock.advance(1);
    expect(source.began).toBe(2);
  });

  it('a failure is told to those who asked for it, and the next read goes on', async () => {
    const source = new Source();
    source.failing = true;
    const first = source.read().catch((error: Error) => error.message);
    await source.clock.advance(1);
    const second = source.read().then(() => 'fine');
    source.failing = false;
    await source.clock.advance(100);
    expect([await first, await second]).toEqual(['no answer', 'fine']);
  });

  it('an answer that was overtaken does not count', async () => {
    const source = new Source();
    void source.read();
    await source.clock.advance(5);
    source.reads.invalidate('k');
    source.reads.invalidate('unknown');
    await source.clock.advance(100);
    expect(source.found).toEqual([]);
    void source.read();
    await source.clock.advance(100);
    expect(source.found).toEqual([0]);
  });

  it('again repeats what is under way, and nothing else', async () => {
    const source = new Source();
    expect(source.reads.again('k')).toBeUndefined();
    void source.read();
    await source.clock.advance(5);
    source.value = 7;
    const again = source.reads.again('k');
    await source.clock.advance(100);
    await again;
    expect(source.found).toEqual([0, 7]);
  });
});
