import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ListScanner } from '../../../src/cluster/list-scanner.ts';
import { CodedError } from '../../../src/kit/errors.ts';

const LIMIT = 1 << 20;

/** Feeds `bytes` cut at `cuts`. */
function scan(bytes: Buffer, cuts: readonly number[], limit = LIMIT) {
  const items: unknown[] = [];
  const scanner = new ListScanner((item) => items.push(item), limit);
  let from = 0;
  for (const cut of [...cuts].sort((a, b) => a - b)) {
    const to = Math.min(cut, bytes.length);
    // A copy: what is kept must not depend on the buffer it came in.
    if (to > from) scanner.push(Buffer.from(bytes.subarray(from, to)));
    from = Math.max(from, to);
  }
  scanner.push(bytes.subarray(from));
  return { items, list: scanner.end() };
}

function codeOf(run: () => unknown): string {
  try {
    run();
    return 'no error';
  } catch (error) {
    return error instanceof CodedError ? error.code : `not coded: ${String(error)}`;
  }
}

const words = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.constantFrom('"', '\\', '\\"', '{', ']', ',', 'ž🐎', '\u2028'),
);
const json = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    words,
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.boolean(),
    fc.constant(null),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(words, tie('value'), { maxKeys: 4 }),
  ),
})).value;
const metadata = fc.record({ resourceVersion: fc.string(), continue: words }, { requiredKeys: [] });
const lists = fc
  .record({
    items: fc.array(json, { maxLength: 8 }),
    metadata,
    kind: words,
    others: fc.dictionary(fc.string(), json, { maxKeys: 3 }),
    order: fc.array(fc.nat(20), { minLength: 6, maxLength: 6 }),
    indent: fc.constantFrom(undefined, 1, '\t', ' \n'),
  })
  .map(({ items, metadata, kind, others, order, indent }) => {
    const entries = Object.entries({ ...others, items, metadata, kind });
    const shuffled = entries
      .map((entry, index) => ({ entry, rank: order[index % order.length] ?? 0 }))
      .sort((a, b) => a.rank - b.rank)
      .map(({ entry }) => entry);
    return Buffer.from(JSON.stringify(Object.fromEntries(shuffled), undefined, indent));
  });

describe('ListScanner', () => {
  test('finds what JSON.parse finds, however the bytes are cut', () => {
    fc.assert(
      fc.property(lists, fc.array(fc.nat(4000), { maxLength: 12 }), (bytes, cuts) => {
        const whole = JSON.parse(bytes.toString('utf8'));
        const { items, list } = scan(bytes, cuts);
        expect(items).toEqual(whole.items);
        expect(list).toEqual({ kind: whole.kind, metadata: whole.metadata });
      }),
      { numRuns: 400 },
    );
  });

  test('does so byte by byte', () => {
    fc.assert(
      fc.property(lists, (bytes) => {
        const { items } = scan(bytes, Array.from(bytes.keys()));
        expect(items).toEqual(JSON.parse(bytes.toString('utf8')).items);
      }),
      { numRuns: 60 },
    );
  });

  test('never takes a list that was cut short for a whole one', () => {
    fc.assert(
      fc.property(lists, fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (bytes, share) => {
        expect(codeOf(() => scan(bytes.subarray(0, Math.floor(bytes.length * share)), []))).toBe('Unavailable');
      }),
      { numRuns: 200 },
    );
  });

  test('a key written with escapes is the same key, and null are no items', () => {
    expect(scan(Buffer.from('{"it\\u0065ms":[1,"]",{"a":"}"}] , "metadata":{}}\n'), [5, 6]).items).toEqual([
      1,
      ']',
      { a: '}' },
    ]);
    expect(scan(Buffer.from('{"kind":"PodList","items":null,"metadata":{"resourceVersion":"7"}}'), [])).toEqual({
      items: [],
      list: { kind: 'PodList', metadata: { resourceVersion: '7' } },
    });
  });

  test.each([
    '<html>a proxy says no</html>',
    '[]',
    '{"metadata":{}}',
    '{"items":[}',
    '{"items":[1 2]}',
    '{"items":[{]}]}',
    '{"items":[],"metadata":{}} x',
    '{"items":[,]}',
    '{"items":[tru]}',
    '{"items":[]',
    '',
  ])('refuses %s', (text) => {
    expect(codeOf(() => scan(Buffer.from(text), []))).toBe('Unavailable');
  });

  test('says nothing of what it could not read', () => {
    let message = '';
    try {
      scan(Buffer.from('{"items":[{"data":{"password":"hunter2" x}}]}'), []);
    } catch (error) {
      message = (error as Error).message;
    }
    expect(message).toContain('not a JSON list');
    expect(message).not.toContain('hunter2');
  });

  test('keeps no more of an element than the limit, and does not care about what it skips', () => {
    const big = 'x'.repeat(5000);
    const cuts = [1000, 2000, 3000, 4000];
    expect(codeOf(() => scan(Buffer.from(`{"items":["${big}"]}`), cuts, 2000))).toBe('ResourceExhausted');
    expect(scan(Buffer.from(`{"other":"${big}","items":[1]}`), cuts, 2000).items).toEqual([1]);
  });
});
