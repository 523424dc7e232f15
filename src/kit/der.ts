import { CodedError } from './errors.ts';

/**
 * ASN.1 values in DER (ITU-T X.690), as far as certificates and requests for them need it. A module for all of X.509
 * would cost every process some 12 MB for these few lines.
 */
export const der = {
  sequence: (...parts: readonly Buffer[]): Buffer => value(0x30, ...parts),
  set: (...parts: readonly Buffer[]): Buffer => value(0x31, ...parts),
  /** A non-negative number, most significant byte first. */
  integer: (bytes: Uint8Array): Buffer => value(0x02, unsigned(bytes)),
  boolean: (flag: boolean): Buffer => value(0x01, Buffer.of(flag ? 0xff : 0)),
  octetString: (bytes: Buffer): Buffer => value(0x04, bytes),
  /** All bits of all bytes. */
  bitString: (bytes: Buffer): Buffer => value(0x03, Buffer.of(0), bytes),
  /** Flags by their numbers (one at least): bit 0 is the first one of the first byte, zeros at the end are cut off. */
  namedBits: (bits: readonly number[]): Buffer => {
    const last = Math.max(...bits);
    const bytes = Buffer.alloc((last >> 3) + 1);
    for (const bit of bits) bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) | (0x80 >> (bit & 7));
    return value(0x03, Buffer.of(7 - (last & 7)), bytes);
  },
  oid: (dotted: string): Buffer => {
    const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
    return value(0x06, Buffer.from([first * 40 + second, ...rest].flatMap(base128)));
  },
  utf8String: (text: string): Buffer => value(0x0c, Buffer.from(text, 'utf8')),
  /** RFC 5280, 4.1.2.5: UTCTime until 2049, GeneralizedTime from then on. */
  time: (ms: number): Buffer => {
    const digits = `${new Date(ms).toISOString().slice(0, 19).replace(/[-T:]/g, '')}Z`;
    const year = Number(digits.slice(0, 4));
    return year < 2050 ? value(0x17, Buffer.from(digits.slice(2))) : value(0x18, Buffer.from(digits));
  },
  /** [number], implicit. */
  tagged: (number: number, content: Buffer): Buffer => value(0x80 | number, content),
  /** [number], constructed. */
  taggedParts: (number: number, ...parts: readonly Buffer[]): Buffer => value(0xa0 | number, ...parts),
} as const;

/** One value as it was read. `tag` is its first byte. */
export interface DerValue {
  readonly tag: number;
  readonly content: Buffer;
  /** With tag and length. */
  readonly whole: Buffer;
}

/** The values that stand one after the other in `bytes`. Throws InvalidObject for what is no DER. */
export function readDer(bytes: Buffer): DerValue[] {
  const values: DerValue[] = [];
  for (let at = 0; at < bytes.length; ) {
    const tag = bytes[at] ?? 0;
    // Tags above 30 take more bytes; no certificate has one.
    if ((tag & 0x1f) === 0x1f) throw malformed('a tag of several bytes');
    const { start, size } = readLength(bytes, at + 1);
    const end = start + size;
    if (end > bytes.length) throw malformed('a value that ends after its container');
    values.push({ tag, content: bytes.subarray(start, end), whole: bytes.subarray(at, end) });
    at = end;
  }
  return values;
}

/** "2.5.4.3" of an OBJECT IDENTIFIER's content. */
export function readOid(content: Buffer): string {
  const numbers: number[] = [];
  let number = 0;
  for (const byte of content) {
    number = number * 128 + (byte & 0x7f);
    if (byte >= 0x80) continue;
    numbers.push(number);
    number = 0;
  }
  const [first = 0, ...rest] = numbers;
  const root = Math.min(Math.floor(first / 40), 2);
  return [root, first - root * 40, ...rest].join('.');
}

function readLength(bytes: Buffer, at: number): { readonly start: number; readonly size: number } {
  const first = bytes[at];
  if (first === undefined) throw malformed('a value without a length');
  if (first < 0x80) return { start: at + 1, size: first };
  const count = first & 0x7f;
  // 0 would be BER's indefinite form; four bytes are more than any message here.
  if (count === 0 || count > 4 || at + 1 + count > bytes.length) throw malformed('a length that cannot be read');
  return { start: at + 1 + count, size: bytes.readUIntBE(at + 1, count) };
}

function malformed(what: string): CodedError {
  return new CodedError('InvalidObject', `reading DER: found ${what}; expected whole values of definite length`);
}

function value(tag: number, ...parts: readonly Buffer[]): Buffer {
  const content = Buffer.concat(parts);
  return Buffer.concat([Buffer.of(tag), length(content.length), content]);
}

function length(size: number): Buffer {
  if (size < 0x80) return Buffer.of(size);
  const bytes: number[] = [];
  for (let rest = size; rest > 0; rest = Math.floor(rest / 256)) bytes.unshift(rest % 256);
  return Buffer.from([0x80 | bytes.length, ...bytes]);
}

/** Without needless zeros, with one where the first bit would make the number negative. */
function unsigned(bytes: Uint8Array): Buffer {
  let start = 0;
  while (start < bytes.length - 1 && bytes[start] === 0) start++;
  const kept = Buffer.from(bytes.subarray(start));
  return (kept[0] ?? 0) >= 0x80 ? Buffer.concat([Buffer.of(0), kept]) : kept;
}

function base128(number: number): number[] {
  const bytes = [number & 0x7f];
  for (let rest = Math.floor(number / 128); rest > 0; rest = Math.floor(rest / 128)) {
    bytes.unshift((rest & 0x7f) | 0x80);
  }
  return bytes;
}
