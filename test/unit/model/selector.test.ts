import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  formatSelector,
  matches,
  matchesFields,
  matchesLabelSelector,
  matchesSet,
  parseFieldSelector,
  parseSelector,
  type Requirement,
} from '../../../src/model/selector.ts';

const key = fc.constantFrom('a', 'app', 'tier', 'example.com/role', 'x-y_z.1');
const value = fc.constantFrom('', 'a', 'web', 'db-1', 'v1.2', 'A_b');
const values = fc.uniqueArray(value, { minLength: 1, maxLength: 3 }).map((list) => [...list].sort());
const requirement: fc.Arbitrary<Requirement> = fc.oneof(
  fc.record({ key, operator: fc.constantFrom('In' as const, 'NotIn' as const), values }),
  fc.record({ key, operator: fc.constantFrom('Exists' as const, 'DoesNotExist' as const), values: fc.constant([]) }),
  fc.record({
    key,
    operator: fc.constantFrom('Gt' as const, 'Lt' as const),
    values: fc.integer().map((bound) => [String(bound)]),
  }),
);
const labels = fc.dictionary(key, value, { maxKeys: 4 });

describe('parseSelector', () => {
  it('reads every form', () => {
    expect(parseSelector('a in (b,c),!d,e!=f,g==h, i , j notin (k), l>3,m<-2')).toEqual([
      { key: 'a', operator: 'In', values: ['b', 'c'] },
      { key: 'd', operator: 'DoesNotExist', values: [] },
      { key: 'e', operator: 'NotIn', values: ['f'] },
      { key: 'g', operator: 'In', values: ['h'] },
      { key: 'i', operator: 'Exists', values: [] },
      { key: 'j', operator: 'NotIn', values: ['k'] },
      { key: 'l', operator: 'Gt', values: ['3'] },
      { key: 'm', operator: 'Lt', values: ['-2'] },
    ]);
    expect(parseSelector('')).toEqual([]);
    expect(parseSelector('a=')).toEqual([{ key: 'a', operator: 'In', values: [''] }]);
    expect(parseSelector('in in (in,,notin)')).toEqual([{ key: 'in', operator: 'In', values: ['', 'in', 'notin'] }]);
  });

  it.each([
    'a=b=c',
    'a,,b',
    ',a',
    'a in b',
    'a in (b',
    '!',
    '!a=b',
    'a b',
    'a>x',
    'a=-x-',
    '-a=b',
    'a/b/c',
    'a in (b))',
    '=a',
  ])('refuses %s with a coded error', (text) => {
    expect(() => parseSelector(text)).toThrow(expect.objectContaining({ code: 'InvalidArgument' }));
  });

  it('reads back what it writes', () => {
    fc.assert(
      fc.property(fc.array(requirement, { maxLength: 5 }), (selector) => {
        expect(parseSelector(formatSelector(selector))).toEqual(selector);
      }),
    );
  });

  it('never throws anything but a coded error', () => {
    const tokens = fc.constantFrom(
      'a',
      'b/c',
      'in',
      'notin',
      '(',
      ')',
      ',',
      '!',
      '=',
      '==',
      '!=',
      '<',
      '>',
      ' ',
      '7',
      'é',
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.array(tokens, { maxLength: 12 }).map((list) => list.join('')),
          fc.string(),
        ),
        (text) => {
          try {
            parseSelector(text);
          } catch (error) {
            expect(error).toMatchObject({ code: 'InvalidArgument' });
          }
        },
      ),
      { numRuns: 500 },
    );
  });
});

describe('matching', () => {
  it('gives opposite operators opposite answers', () => {
    const opposite = { In: 'NotIn', NotIn: 'In', Exists: 'DoesNotExist', DoesNotExist: 'Exists' } as const;
    fc.assert(
      fc.property(requirement, labels, (one, given) => {
        if (one.operator === 'Gt' || one.operator === 'Lt') return;
        expect(matches([one], given)).toBe(!matches([{ ...one, operator: opposite[one.operator] }], given));
      }),
    );
  });

  it('holds for all requirements together', () => {
    fc.assert(
      fc.property(fc.array(requirement, { maxLength: 4 }), labels, (selector, given) => {
        expect(matches(selector, given)).toBe(selector.every((one) => matches([one], given)));
      }),
    );
  });

  it('knows what absent labels mean', () => {
    expect(matches(parseSelector('a!=b'), undefined)).toBe(true);
    expect(matches(parseSelector('a notin (b)'), {})).toBe(true);
    expect(matches(parseSelector('a=b'), {})).toBe(false);
    expect(matches(parseSelector('constructor'), {})).toBe(false);
    expect(matches(parseSelector('a>5'), { a: '6' })).toBe(true);
    expect(matches(parseSelector('a>5'), { a: 'six' })).toBe(false);
  });

  it('agrees between a set and a label selector', () => {
    fc.assert(
      fc.property(labels, labels, (set, given) => {
        expect(matchesLabelSelector({ matchLabels: set }, given)).toBe(matchesSet(set, given));
      }),
    );
    expect(matchesLabelSelector(undefined, { a: 'b' })).toBe(false);
    expect(matchesLabelSelector({}, { a: 'b' })).toBe(true);
    const tier = { matchExpressions: [{ key: 'tier', operator: 'In' as const, values: ['web', 'db'] }] };
    expect(matchesLabelSelector(tier, { tier: 'db' })).toBe(true);
    expect(matchesLabelSelector(tier, { tier: 'cache' })).toBe(false);
  });
});

describe('field selectors', () => {
  it('reads and matches', () => {
    const selector = parseFieldSelector('spec.nodeName=n1,status.phase!=Failed,metadata.name==a\\,b');
    expect(selector).toEqual([
      { field: 'spec.nodeName', value: 'n1', equal: true },
      { field: 'status.phase', value: 'Failed', equal: false },
      { field: 'metadata.name', value: 'a,b', equal: true },
    ]);
    const fields: Record<string, string> = { 'spec.nodeName': 'n1', 'metadata.name': 'a,b' };
    expect(matchesFields(selector, (field) => fields[field] ?? '')).toBe(true);
    expect(matchesFields(selector, (field) => (field === 'status.phase' ? 'Failed' : (fields[field] ?? '')))).toBe(
      false,
    );
    expect(parseFieldSelector('')).toEqual([]);
  });

  it.each(['a', '=b', 'a=b=c'])('refuses %s', (text) => {
    expect(() => parseFieldSelector(text)).toThrow(expect.objectContaining({ code: 'InvalidArgument' }));
  });
});
