import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { assignPlaces } from '../../../../src/services/delta/nftables/places.ts';

describe('assignPlaces', () => {
  it.each<[string, string, string, string]>([
    ['keeps what is there', 'abc', 'abc', 'abc'],
    ['appends', 'ab', 'abc', 'abc'],
    ['moves the last one into a hole', 'abcd', 'bcd', 'dbc'],
    ['lets the last one go', 'abc', 'ab', 'ab'],
    ['puts a new one into a hole', 'abc', 'abd', 'abd'],
    ['starts from nothing', '', 'ba', 'ba'],
    ['ends with nothing', 'ab', '', ''],
    ['survives two equal ones', 'aab', 'ab', 'ab'],
  ])('%s', (_title, before, wanted, after) => {
    expect(assignPlaces([...before], [...wanted]).join('')).toBe(after);
  });

  it('holds each wanted item once, without holes, and moves at most one item for each that goes', () => {
    const items = fc.uniqueArray(fc.constantFrom(...'abcdefgh'));
    fc.assert(
      fc.property(items, items, (before, wanted) => {
        const after = assignPlaces(before, wanted);
        expect([...after].sort()).toEqual([...wanted].sort());
        const moved = after.filter((item, place) => before.includes(item) && before[place] !== item);
        const gone = before.filter((item) => !wanted.includes(item));
        expect(moved.length).toBeLessThanOrEqual(gone.length);
      }),
    );
  });
});
