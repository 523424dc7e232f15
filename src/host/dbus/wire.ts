import { CodedError } from '../../kit/errors.ts';
import type { DBusValue, Variant } from './port.ts';

/** Alignments of the type system, in bytes (D-Bus specification, "Marshaling"). */
const ALIGNMENT: Readonly<Record<string, number>> = {
  y: 1,
  g: 1,
  v: 1,
  n: 2,
  q: 2,
  b: 4,
  i: 4,
  u: 4,
  h: 4,
  s: 4,
  o: 4,
  a: 4,
  x: 8,
  t: 8,
  d: 8,
  '(': 8,
  '{': 8,
};
const ARRAY_BYTES_MAX = 64 * 1024 * 1024;

/** The complete types of a signature: "sa{sv}" → ["s", "a{sv}"]. Throws InvalidArgument. */
export function typesOf(signature: string): string[] {
  const types: string[] = [];
  for (let at = 0; at < signature.length; ) {
    const end = endOfType(signature, at);
    types.push(signature.slice(at, end));
    at = end;
  }
  return types;
}

function endOfType(signature: string, at: number): number {
  const letter = signature[at] ?? '';
  if (letter === 'a') return endOfType(signature, at + 1);
  if (letter === '(' || letter === '{') {
    const close = letter === '(' ? ')' : '}';
    let end = at + 1;
    while (signature[end] !== close) end = endOfType(signature, end);
    return end + 1;
  }
  if (letter === '' || ALIGNMENT[letter] === undefined) {
    throw new CodedError('InvalidArgument', `${JSON.stringify(signature)} is no D-Bus signature`);
  }
  return at + 1;
}

/** Writes values little-endian; alignment counts from the first byte. */
export class WireWriter {
  private buffer = Buffer.alloc(256);
  length = 0;

  get bytes(): Buffer {
    return this.buffer.subarray(0, this.length);
  }

  align(to: number): void {
    const padding = (to - (this.length % to)) % to;
    this.room(padding);
    this.buffer.fill(0, this.length, this.length + padding);
    this.length += padding;
  }

  writeAll(signature: string, values: readonly DBusValue[]): void {
    const types = typesOf(signature);
    if (types.length !== values.length) {
      throw new CodedError('InvalidArgument', `${values.length} values for the D-Bus signature "${signature}"`);
    }
    for (const [index, type] of types.entries()) this.write(type, values[index] ?? 0);
  }

  write(type: string, value: DBusValue): void {
    const letter = type[0] ?? '';
    this.align(ALIGNMENT[letter] ?? 1);
    switch (letter) {
      case 'a':
        this.writeArray(type.slice(1), value as readonly DBusValue[]);
        return;
      case '(':
      case '{':
        this.writeAll(type.slice(1, -1), value as readonly DBusValue[]);
        return;
      case 'v': {
        const { signature, value: inner } = value as Variant;
        this.write('g', signature);
        this.write(signature, inner);
        return;
      }
      case 's':
      case 'o':
      case 'g':
        this.writeText(letter, String(value));
        return;
      default:
        this.writeNumber(letter, value);
    }
  }

  private writeArray(type: string, values: readonly DBusValue[]): void {
    const lengthAt = this.length;
    this.writeNumber('u', 0);
    // The length does not count the padding before the first element.
    this.align(ALIGNMENT[type[0] ?? ''] ?? 1);
    const start = this.length;
    for (const value of values) this.write(type, value);
    this.buffer.writeUInt32LE(this.length - start, lengthAt);
  }

  private writeText(letter: string, text: string): void {
    const bytes = Buffer.byteLength(text);
    this.writeNumber(letter === 'g' ? 'y' : 'u', bytes);
    this.room(bytes + 1);
    this.buffer.write(text, this.length);
    this.buffer[this.length + bytes] = 0;
    this.length += bytes + 1;
  }

  private writeNumber(letter: string, value: DBusValue): void {
    this.room(8);
    const { buffer, length } = this;
    switch (letter) {
      case 'y':
        this.length = buffer.writeUInt8(Number(value), length);
        return;
      case 'n':
        this.length = buffer.writeInt16LE(Number(value), length);
        return;
      case 'q':
        this.length = buffer.writeUInt16LE(Number(value), length);
        return;
      case 'b':
        this.length = buffer.writeUInt32LE(value === true ? 1 : 0, length);
        return;
      case 'i':
        this.length = buffer.writeInt32LE(Number(value), length);
        return;
      case 'u':
      case 'h':
        this.length = buffer.writeUInt32LE(Number(value), length);
        return;
      case 'x':
        this.length = buffer.writeBigInt64LE(BigInt(value as bigint), length);
        return;
      case 't':
        this.length = buffer.writeBigUInt64LE(BigInt(value as bigint), length);
        return;
      default:
        this.length = buffer.writeDoubleLE(Number(value), length);
    }
  }

  private room(bytes: number): void {
    if (this.length + bytes <= this.buffer.length) return;
    const larger = Buffer.alloc(Math.max(this.buffer.length * 2, this.length + bytes));
    this.buffer.copy(larger, 0, 0, this.length);
    this.buffer = larger;
  }
}

/** Reads what WireWriter writes, of either byte order. Throws InvalidArgument for what is cut short or malformed. */
export class WireReader {
  private readonly buffer: Buffer;
  private readonly little: boolean;
  at: number;

  constructor(buffer: Buffer, little = true, at = 0) {
    this.buffer = buffer;
    this.little = little;
    this.at = at;
  }

  readAll(signature: string): DBusValue[] {
    return typesOf(signature).map((type) => this.read(type));
  }

  read(type: string): DBusValue {
    try {
      return this.value(type);
    } catch (error) {
      if (error instanceof CodedError) throw error;
      throw new CodedError('InvalidArgument', `a D-Bus message ends within a value of type ${type}`, {}, error);
    }
  }

  align(to: number): void {
    this.at += (to - (this.at % to)) % to;
  }

  private value(type: string): DBusValue {
    const letter = type[0] ?? '';
    this.align(ALIGNMENT[letter] ?? 1);
    switch (letter) {
      case 'a':
        return this.array(type.slice(1));
      case '(':
      case '{':
        return this.readAll(type.slice(1, -1));
      case 'v': {
        const signature = String(this.value('g'));
        return { signature, value: this.value(signature) };
      }
      case 's':
      case 'o':
      case 'g': {
        const bytes = Number(letter === 'g' ? this.value('y') : this.value('u'));
        if (this.at + bytes >= this.buffer.length) throw new RangeError('text');
        const text = this.buffer.toString('utf8', this.at, this.at + bytes);
        this.at += bytes + 1;
        return text;
      }
      default:
        return this.number(letter);
    }
  }

  private array(type: string): DBusValue[] {
    const bytes = Number(this.value('u'));
    if (bytes > ARRAY_BYTES_MAX) throw new CodedError('InvalidArgument', `a D-Bus array has ${bytes} bytes`);
    this.align(ALIGNMENT[type[0] ?? ''] ?? 1);
    const end = this.at + bytes;
    if (end > this.buffer.length) throw new RangeError('array');
    const values: DBusValue[] = [];
    while (this.at < end) values.push(this.value(type));
    return values;
  }

  private number(letter: string): DBusValue {
    const { buffer, little, at } = this;
    this.at += ALIGNMENT[letter] ?? 1;
    switch (letter) {
      case 'y':
        return buffer.readUInt8(at);
      case 'n':
        return little ? buffer.readInt16LE(at) : buffer.readInt16BE(at);
      case 'q':
        return little ? buffer.readUInt16LE(at) : buffer.readUInt16BE(at);
      case 'b':
        return (little ? buffer.readUInt32LE(at) : buffer.readUInt32BE(at)) !== 0;
      case 'i':
        return little ? buffer.readInt32LE(at) : buffer.readInt32BE(at);
      case 'u':
      case 'h':
        return little ? buffer.readUInt32LE(at) : buffer.readUInt32BE(at);
      case 'x':
        return little ? buffer.readBigInt64LE(at) : buffer.readBigInt64BE(at);
      case 't':
        return little ? buffer.readBigUInt64LE(at) : buffer.readBigUInt64BE(at);
      default:
        return little ? buffer.readDoubleLE(at) : buffer.readDoubleBE(at);
    }
  }
}
