import { parseQuantity } from './quantity.ts';

const NANO = 1_000_000_000n;
const BINARY_SUFFIXES = ['', 'Ki', 'Mi', 'Gi', 'Ti', 'Pi', 'Ei'];
const DECIMAL_SUFFIXES = ['n', 'u', 'm', '', 'k', 'M', 'G', 'T', 'P', 'E'];

/**
 * The text that an API server gives back for a quantity (Quantity.CanonicalizeBytes): the largest suffix of the same
 * family that leaves a whole number. "0.5" becomes "500m", "1024Mi" "1Gi", "1000" "1k", "1.5Gi" "1536Mi".
 * Throws InvalidArgument when it is not a quantity.
 */
export function canonicalQuantity(quantity: string | number): string {
  const nano = parseQuantity(quantity);
  if (nano === 0n) return '0';
  const text = String(quantity);
  if (/i$/.test(text)) return binary(nano) ?? decimal(nano, false);
  return decimal(nano, /[eE][+-]?\d+$/.test(text));
}

/** A whole number of bytes as Go writes one in binary format: 1536 Mi is "1536Mi", 1000 is "1k". */
export function binaryQuantity(value: number | bigint): string {
  const nano = BigInt(value) * NANO;
  if (nano === 0n) return '0';
  return binary(nano) ?? decimal(nano, false);
}

/** A whole number in decimal format: 5000 is "5k". */
export function decimalQuantity(value: number | bigint): string {
  return value === 0 || value === 0n ? '0' : decimal(BigInt(value) * NANO, false);
}

/** undefined below 1024, where binary suffixes say nothing. */
function binary(nano: bigint): string | undefined {
  const negative = nano < 0n;
  const magnitude = negative ? -nano : nano;
  if (magnitude < 1024n * NANO) return undefined;
  let units = (magnitude + NANO - 1n) / NANO;
  let step = 0;
  while (units % 1024n === 0n && step < BINARY_SUFFIXES.length - 1) {
    units /= 1024n;
    step++;
  }
  return `${negative ? '-' : ''}${units}${BINARY_SUFFIXES[step]}`;
}

function decimal(nano: bigint, exponent: boolean): string {
  let mantissa = nano;
  let step = 0;
  while (mantissa % 1000n === 0n && step < DECIMAL_SUFFIXES.length - 1) {
    mantissa /= 1000n;
    step++;
  }
  if (!exponent) return `${mantissa}${DECIMAL_SUFFIXES[step]}`;
  const power = 3 * (step - 3);
  return power === 0 ? String(mantissa) : `${mantissa}e${power}`;
}
