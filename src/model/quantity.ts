import { CodedError } from '../kit/errors.ts';

/**
 * resource.Quantity (apimachinery pkg/api/resource/quantity.go): a decimal number with a binary suffix (Ki…Ei), a
 * decimal one (n u m k M G T P E) or an exponent (e3). Values are exact: bigint counts of 10⁻⁹.
 */
export type Nano = bigint;

const ONE: Nano = 1_000_000_000n;
const BINARY: Readonly<Record<string, bigint>> = {
  Ki: 1n << 10n,
  Mi: 1n << 20n,
  Gi: 1n << 30n,
  Ti: 1n << 40n,
  Pi: 1n << 50n,
  Ei: 1n << 60n,
};
const DECIMAL_EXPONENT: Readonly<Record<string, number>> = {
  n: -9,
  u: -6,
  m: -3,
  '': 0,
  k: 3,
  M: 6,
  G: 9,
  T: 12,
  P: 15,
  E: 18,
};
const PATTERN = /^([+-]?)(\d+\.?\d*|\.\d+)(?:(Ki|Mi|Gi|Ti|Pi|Ei|[numkMGTPE])|[eE]([+-]?\d{1,3}))?$/;

/** Exact value in 10⁻⁹, rounded away from zero as Kubernetes does. Throws InvalidArgument. */
export function parseQuantity(quantity: string | number): Nano {
  const text = typeof quantity === 'number' ? String(quantity) : quantity;
  const match = PATTERN.exec(text);
  if (match === null) {
    throw new CodedError(
      'InvalidArgument',
      `${JSON.stringify(quantity)} is not a quantity such as 100m, 0.5, 64Mi or 2G`,
    );
  }
  const [, sign, digits = '', suffix = '', exponent] = match;
  const [whole = '', fraction = ''] = digits.split('.');
  const mantissa = BigInt(whole + fraction || '0');
  const binary = BINARY[suffix];
  const power = (exponent === undefined ? (DECIMAL_EXPONENT[suffix] ?? 0) : Number(exponent)) - fraction.length + 9;
  const scaled = mantissa * (binary ?? 1n);
  const magnitude = power >= 0 ? scaled * 10n ** BigInt(power) : ceilDivide(scaled, 10n ** BigInt(-power));
  return sign === '-' ? -magnitude : magnitude;
}

export function isQuantity(quantity: unknown): quantity is string | number {
  return (typeof quantity === 'string' || typeof quantity === 'number') && PATTERN.test(String(quantity));
}

/** Whole units, rounded up (Quantity.Value): bytes, or cores. */
export function wholeValueOf(quantity: string | number): number {
  return Number(ceilDivide(parseQuantity(quantity), ONE));
}

/** Thousandths, rounded up (Quantity.MilliValue): millicores. */
export function milliValueOf(quantity: string | number): number {
  return Number(ceilDivide(parseQuantity(quantity), 1_000_000n));
}

/** Canonical decimal text: "250m", "2", "1500M" is kept in units ("1500000000"). */
export function formatNano(value: Nano): string {
  if (value % ONE === 0n) return String(value / ONE);
  if (value % 1_000_000n === 0n) return `${value / 1_000_000n}m`;
  if (value % 1000n === 0n) return `${value / 1000n}u`;
  return `${value}n`;
}

/** Bytes with the largest binary suffix that divides them, such as "64Mi". */
export function formatBytes(bytes: number): string {
  for (const suffix of ['Ei', 'Pi', 'Ti', 'Gi', 'Mi', 'Ki']) {
    const unit = Number(BINARY[suffix]);
    if (bytes !== 0 && bytes % unit === 0) return `${bytes / unit}${suffix}`;
  }
  return String(bytes);
}

export function formatMilli(milli: number): string {
  return formatNano(BigInt(Math.ceil(milli)) * 1_000_000n);
}

function ceilDivide(dividend: bigint, divisor: bigint): bigint {
  const quotient = dividend / divisor;
  if (dividend % divisor === 0n) return quotient;
  // Away from zero: a fraction of a unit still takes the unit.
  return dividend > 0n ? quotient + 1n : quotient - 1n;
}
