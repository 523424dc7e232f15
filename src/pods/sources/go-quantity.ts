import { CodedError } from '../../kit/errors.ts';

/**
 * What Go holds of a resource.Quantity after reading its text: a small number, or a big decimal where that does not do
 * (apimachinery pkg/api/resource). `text` is kept only where it is canonical already.
 */
export interface GoQuantity {
  readonly value: bigint;
  readonly scale: number;
  readonly decimal: { readonly unscaled: bigint; readonly scale: number } | undefined;
  readonly text: string;
  readonly format: string;
}

const PATTERN = /^([+-]?)(\d*)(?:\.(\d*))?(Ki|Mi|Gi|Ti|Pi|Ei|[numkMGTPE]|[eE][+-]?\d+)?$/;
const BINARY = ['Ki', 'Mi', 'Gi', 'Ti', 'Pi', 'Ei'];
const DECIMAL: Readonly<Record<string, number>> = { n: -9, u: -6, m: -3, k: 3, M: 6, G: 9, T: 12, P: 15, E: 18 };
const MAX_INT64 = (1n << 63n) - 1n;
/** Digits that always fit in an int64, decimal and (by rule of thumb) binary. */
const DECIMAL_DIGITS = 18;
const BINARY_DIGITS = 15;
const NANO = -9;
const MILLI = -3;

export const zeroGoQuantity: GoQuantity = { value: 0n, scale: 0, decimal: undefined, text: '', format: '' };

/** Throws InvalidArgument when it is no quantity. */
export function goQuantity(text: string): GoQuantity {
  if (text === '0') return { ...zeroGoQuantity, text, format: 'DecimalSI' };
  const match = PATTERN.exec(text);
  if (match === null || `${match[2]}${match[3] ?? ''}` === '') {
    throw new CodedError('InvalidArgument', `${JSON.stringify(text)} is not a quantity such as 100m, 0.5, 64Mi or 2G`);
  }
  const [, sign = '', digits = '', fraction = '', suffix = ''] = match;
  const negative = sign === '-';
  const whole = digits.replace(/^0+/, '') || '0';
  const power = BINARY.indexOf(suffix);
  const exponent = power >= 0 ? 10 * (power + 1) : exponentOf(suffix);
  const format = power >= 0 ? 'BinarySI' : /^[eE]/.test(suffix) && suffix.length > 1 ? 'DecimalExponent' : 'DecimalSI';
  const small = smallOf({ whole, fraction, exponent, binary: power >= 0, negative });
  if (small !== undefined) {
    const canonical = power >= 0 ? (small.plain & 7n) !== 0n : isCanonicalDecimal(whole + fraction, small.scale);
    return { value: small.value, scale: small.scale, decimal: undefined, text: canonical ? text : '', format };
  }
  return big(BigInt(whole + fraction || '0'), fraction.length, exponent, format, negative);
}

/** As the defaults of a ResourceList do it: no finer than thousandths, away from zero. */
export function roundedToMilli(quantity: GoQuantity): GoQuantity {
  if (quantity.decimal !== undefined) return { ...quantity, text: '', decimal: rounded(quantity.decimal, -MILLI) };
  if (quantity.scale >= MILLI) return quantity;
  const divisor = 10n ** BigInt(MILLI - quantity.scale);
  return { ...quantity, text: '', value: awayFromZero(quantity.value, divisor), scale: MILLI };
}

function exponentOf(suffix: string): number {
  if (suffix === '') return 0;
  return DECIMAL[suffix] ?? Number(suffix.slice(1));
}

function isCanonicalDecimal(digits: string, scale: number): boolean {
  return scale % 3 === 0 && !digits.endsWith('000') && digits[0] !== '0';
}

function smallOf(parts: {
  whole: string;
  fraction: string;
  exponent: number;
  binary: boolean;
  negative: boolean;
}): { readonly plain: bigint; readonly value: bigint; readonly scale: number } | undefined {
  const { whole, fraction, exponent, binary, negative } = parts;
  const precision = binary
    ? fraction === ''
      ? BINARY_DIGITS - whole.length - Math.trunc((exponent * 3) / 10) - 1
      : -1
    : DECIMAL_DIGITS - whole.length - fraction.length;
  const scale = (binary ? 0 : exponent) - fraction.length;
  if (precision < 0 || scale < NANO) return undefined;
  const plain = BigInt(whole + fraction);
  const value = binary ? plain << BigInt(exponent) : plain;
  if (value > MAX_INT64) return undefined;
  return { plain, value: negative ? -value : value, scale };
}

function big(digits: bigint, fraction: number, exponent: number, format: string, negative: boolean): GoQuantity {
  const binary = format === 'BinarySI';
  let decimal = binary
    ? { unscaled: digits << BigInt(exponent), scale: fraction }
    : { unscaled: digits, scale: fraction - exponent };
  if (decimal.unscaled !== 0n) decimal = rounded(decimal, -NANO);
  const unit = 10n ** BigInt(Math.max(0, decimal.scale));
  let shown = format;
  if (binary && decimal.unscaled > MAX_INT64 * unit) decimal = { unscaled: MAX_INT64, scale: 0 };
  if (binary && decimal.unscaled > 0n && decimal.unscaled < unit) shown = 'DecimalSI';
  if (negative) decimal = { ...decimal, unscaled: -decimal.unscaled };
  return { value: 0n, scale: 0, decimal, text: '', format: shown };
}

function rounded(
  { unscaled, scale }: { unscaled: bigint; scale: number },
  to: number,
): { unscaled: bigint; scale: number } {
  if (scale <= to) return { unscaled: unscaled * 10n ** BigInt(to - scale), scale: to };
  return { unscaled: awayFromZero(unscaled, 10n ** BigInt(scale - to)), scale: to };
}

function awayFromZero(dividend: bigint, divisor: bigint): bigint {
  const quotient = dividend / divisor;
  if (dividend % divisor === 0n) return quotient;
  return dividend > 0n ? quotient + 1n : quotient - 1n;
}
