import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { expand, expandAll, expandKnown } from '../../../../src/pods/environment/expand.ts';

/** Says the same as expand, character by character and without looking ahead more than it must. */
function naive(text: string, values: Readonly<Record<string, string>>): string {
  const rest = [...text];
  let result = '';
  while (rest.length > 0) {
    const character = rest.shift() ?? '';
    if (character !== '$' || rest.length === 0) {
      result += character;
      continue;
    }
    const next = rest[0] ?? '';
    if (next === '$') {
      rest.shift();
      result += '$';
    } else if (next === '(' && rest.includes(')')) {
      const name = rest
        .splice(0, rest.indexOf(')') + 1)
        .slice(1, -1)
        .join('');
      result += Object.hasOwn(values, name) ? values[name] : `$(${name})`;
    } else {
      result += `$${rest.shift()}`;
    }
  }
  return result;
}

describe('expand', () => {
  const values: Record<string, string> = { A: 'a', B: '$(A)', EMPTY: '', 'odd.name-1': 'o' };
  const lookup = (name: string): string | undefined => (Object.hasOwn(values, name) ? values[name] : undefined);

  it.each([
    ['$(A)', 'a'],
    ['x$(A)y$(A)', 'xaya'],
    ['$(B)', '$(A)'],
    ['$(EMPTY)|', '|'],
    ['$(odd.name-1)', 'o'],
    ['$(NOPE)', '$(NOPE)'],
    ['$$(A)', '$(A)'],
    ['$$$(A)', '$a'],
    ['$$$$(A)', '$$(A)'],
    ['$(A', '$(A'],
    ['$((A)', '$((A)'],
    ['$()', '$()'],
    ['$A', '$A'],
    ['a$', 'a$'],
    ['$', '$'],
    ['$$', '$'],
    ['$é$(A)', '$éa'],
    ['$(A)$(', 'a$('],
    ['$(constructor)', '$(constructor)'],
    ['', ''],
  ])('%j → %j', (text, expected) => {
    expect(expand(text, lookup)).toBe(expected);
  });

  it('agrees with a naive model (property)', () => {
    const piece = fc.oneof(
      fc.constantFrom('$', '$$', '(', ')', '$(A)', '$(B)', '$(C', 'A', ' '),
      fc.string({ maxLength: 3 }),
    );
    const names = fc.constantFrom('A', 'B', 'C', '', '$', '(');
    fc.assert(
      fc.property(
        fc.array(piece, { maxLength: 25 }),
        fc.dictionary(names, fc.string({ maxLength: 4 })),
        (pieces, given) => {
          const text = pieces.join('');
          expect(expand(text, (name) => (Object.hasOwn(given, name) ? given[name] : undefined))).toBe(
            naive(text, given),
          );
        },
      ),
      { numRuns: 2000 },
    );
  });

  it('expands words, and tells what is missing', () => {
    expect(expandAll(['echo', '$(A)$(X)'], { A: '1' })).toEqual(['echo', '1$(X)']);
    expect(expandAll(undefined, {})).toEqual([]);
    expect(expandKnown('$(A)/$(X)/$(Y)', { A: '1' })).toEqual({ text: '1/$(X)/$(Y)', missing: ['X', 'Y'] });
    expect(expandKnown('$$(X)', {})).toEqual({ text: '$(X)', missing: [] });
  });
});
