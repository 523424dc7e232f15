import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canonicalQuantity } from '../../../src/model/canonical-quantity.ts';
import {
  formatBytes,
  formatMilli,
  formatNano,
  isQuantity,
  milliValueOf,
  parseQuantity,
  wholeValueOf,
} from '../../../src/model/quantity.ts';

const number = fc.oneof(
  fc.integer({ min: -100_000, max: 100_000 }).map(String),
  fc
    .tuple(fc.integer({ min: 0, max: 9999 }), fc.integer({ min: 0, max: 999 }))
    .map(([whole, part]) => `${whole}.${part}`),
  fc.integer({ min: 0, max: 999 }).map((part) => `.${part}`),
  fc.integer({ min: 0, max: 999 }).map((whole) => `${whole}.`),
);
const suffix = fc.constantFrom(
  '',
  'n',
  'u',
  'm',
  'k',
  'M',
  'G',
  'T',
  'P',
  'E',
  'Ki',
  'Mi',
  'Gi',
  'Ti',
  'Pi',
  'Ei',
  'e3',
  'E-2',
  'e+6',
);
const quantity = fc.tuple(number, suffix).map(([digits, unit]) => `${digits}${unit}`);

describe('parseQuantity', () => {
  it.each([
    ['1', 1_000_000_000n],
    ['100m', 100_000_000n],
    ['0.5', 500_000_000n],
    ['64Mi', 64n * 1_048_576n * 1_000_000_000n],
    ['2G', 2_000_000_000n * 1_000_000_000n],
    ['1e3', 1_000n * 1_000_000_000n],
    ['12E-1', 1_200_000_000n],
    ['+1.5Ki', 1536n * 1_000_000_000n],
    ['-250m', -250_000_000n],
    // Less than 10⁻⁹ counts as 10⁻⁹ (away from zero).
    ['0.0000000001', 1n],
    ['-0.1n', -1n],
  ])('%s', (text, nano) => {
    expect(parseQuantity(text)).toBe(nano);
  });

  it.each(['', ' 1', '1 ', '1KB', '1ki', 'Mi', '1.2.3', '0x10', '1e', '--1', '1mm', 'NaN', '१'])(
    'refuses %j',
    (text) => {
      expect(isQuantity(text)).toBe(false);
      expect(() => parseQuantity(text)).toThrow(expect.objectContaining({ code: 'InvalidArgument' }));
    },
  );

  it('keeps the value when written and read again', () => {
    fc.assert(
      fc.property(quantity, (text) => {
        const value = parseQuantity(text);
        expect(parseQuantity(formatNano(value))).toBe(value);
      }),
    );
  });

  it('adds up: suffixes are factors', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 1_000_000 }), (count) => {
        expect(parseQuantity(`${count}Ki`)).toBe(parseQuantity(count) * 1024n);
        expect(parseQuantity(`${count}m`) * 1000n).toBe(parseQuantity(count));
        expect(parseQuantity(`${count}k`)).toBe(parseQuantity(`${count}e3`));
      }),
    );
  });

  it('rounds up to whole units and thousandths', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1_000_000 }), (micro) => {
        expect(milliValueOf(`${micro}u`)).toBe(Math.ceil(micro / 1000));
        expect(wholeValueOf(`${micro}u`)).toBe(Math.ceil(micro / 1_000_000));
        expect(milliValueOf(formatMilli(micro))).toBe(micro);
        expect(wholeValueOf(formatBytes(micro))).toBe(micro);
      }),
    );
  });
});

describe('canonicalQuantity', () => {
  it.each([
    ['0.5', '500m'],
    ['1000m', '1'],
    ['1024Mi', '1Gi'],
    ['1.5Gi', '1536Mi'],
    ['1000', '1k'],
    ['1500M', '1500M'],
    ['0Mi', '0'],
    ['0.5Ki', '512'],
    ['1e3', '1e3'],
    ['1000e3', '1e6'],
    ['100', '100'],
    ['1.0001Ki', '1025'],
    [2, '2'],
    [0.1, '100m'],
    ['-1024Ki', '-1Mi'],
  ])('%s is %s', (given, text) => {
    expect(canonicalQuantity(given)).toBe(text);
  });

  it('has the same value, and is itself canonical', () => {
    fc.assert(
      fc.property(quantity, (text) => {
        const canonical = canonicalQuantity(text);
        // Binary text whose whole value no binary suffix divides has none: as it stands there it is decimal (so in
        // Kubernetes, too: 1.791Mi is 1878000, and that is 1878k).
        if (/i$/.test(text) && !/i$/.test(canonical)) {
          expect(parseQuantity(canonicalQuantity(canonical))).toBe(parseQuantity(canonical));
        } else expect(canonicalQuantity(canonical)).toBe(canonical);
        const [before, after] = [parseQuantity(text), parseQuantity(canonical)];
        // Binary suffixes give whole units only; everything else is exact.
        if (/i$/.test(text)) expect(after - before < 1_000_000_000n && before - after < 1_000_000_000n).toBe(true);
        else expect(after).toBe(before);
      }),
      { examples: [['1.791Mi']] },
    );
  });
});
