import { CodedError } from '../kit/errors.ts';
import type { ListMeta } from '../model/meta.ts';

export interface ScannedList {
  readonly kind: string | undefined;
  readonly metadata: ListMeta;
}

type State =
  | 'start'
  | 'key-or-end'
  | 'key'
  | 'colon'
  | 'value'
  | 'in-value'
  | 'after-value'
  | 'item-or-end'
  | 'item'
  | 'in-item'
  | 'after-item'
  | 'done';

const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const BACKSLASH = 0x5c;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

/** What a list says of itself; everything else beside the items is skipped. */
const KEPT: readonly string[] = ['kind', 'metadata'];

/**
 * Cuts the elements of `items` out of a JSON list while it comes in, in chunks that may end anywhere, and hands each
 * over parsed; the list is never whole in memory. Keys may come in any order. Throws Unavailable when what comes is
 * no JSON list, ResourceExhausted for an element above the limit.
 */
export class ListScanner {
  private readonly onItem: (item: unknown) => void;
  private readonly limit: number;
  private state: State = 'start';
  /** The top-level key whose value comes. */
  private key = '';
  private readonly kept: Record<string, unknown> = {};
  private sawItems = false;
  /** Inside a value: containers that are open, whether a string is open and what precedes is a backslash. */
  private depth = 0;
  private inString = false;
  private escaped = false;
  private scalar = false;
  /** Earlier chunks' part of the value that is being kept. */
  private parts: Buffer[] = [];
  private partsLength = 0;

  /** `limit` is the longest element in bytes. */
  constructor(onItem: (item: unknown) => void, limit: number) {
    this.onItem = onItem;
    this.limit = limit;
  }

  push(chunk: Buffer): void {
    const end = chunk.length;
    // Where the value that is being read begins in this chunk.
    let from = 0;
    let at = 0;
    while (at < end) {
      switch (this.state) {
        case 'in-value':
        case 'in-item': {
          const stop = this.skip(chunk, at);
          if (stop < 0) {
            at = end;
            break;
          }
          at = stop;
          this.finish(chunk, from, stop);
          break;
        }
        case 'key': {
          const stop = this.skip(chunk, at);
          if (stop < 0) {
            at = end;
            break;
          }
          at = stop;
          this.key = String(this.parsed(chunk, from, stop));
          this.state = 'colon';
          break;
        }
        default: {
          const byte = chunk[at] ?? 0;
          if (byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09) {
            at++;
            break;
          }
          from = at;
          at = this.structure(byte, at);
        }
      }
    }
    if (this.state === 'in-value' || this.state === 'in-item' || this.state === 'key') this.keep(chunk, from, end);
  }

  /** What the list said of itself; throws when it is not complete. */
  end(): ScannedList {
    if (this.state !== 'done') throw broken('it ends in the middle');
    if (!this.sawItems) throw broken('it has no items');
    const { kind, metadata } = this.kept;
    return {
      kind: typeof kind === 'string' ? kind : undefined,
      metadata: typeof metadata === 'object' && metadata !== null ? (metadata as ListMeta) : {},
    };
  }

  /** One byte between values. Answers where to go on. */
  private structure(byte: number, at: number): number {
    switch (this.state) {
      case 'start':
        if (byte !== OPEN_OBJECT) throw broken('it does not begin with {');
        this.state = 'key-or-end';
        return at + 1;
      case 'key-or-end':
        if (byte === CLOSE_OBJECT) {
          this.state = 'done';
          return at + 1;
        }
        if (byte !== QUOTE) throw broken('a key is expected');
        this.begin(byte, 'key');
        return at + 1;
      case 'colon':
        if (byte !== COLON) throw broken('a colon is expected');
        this.state = 'value';
        return at + 1;
      case 'value':
        if (this.key === 'items') {
          this.sawItems = true;
          if (byte === OPEN_ARRAY) {
            this.state = 'item-or-end';
            return at + 1;
          }
        }
        this.begin(byte, 'in-value');
        // A scalar's first byte is looked at again: it may be its last.
        return this.scalar ? at : at + 1;
      case 'after-value':
        if (byte !== COMMA && byte !== CLOSE_OBJECT) throw broken('a comma is expected');
        this.state = byte === COMMA ? 'key-or-end' : 'done';
        return at + 1;
      case 'item-or-end':
        if (byte === CLOSE_ARRAY) {
          this.state = 'after-value';
          return at + 1;
        }
        this.begin(byte, 'in-item');
        return this.scalar ? at : at + 1;
      case 'item':
        this.begin(byte, 'in-item');
        return this.scalar ? at : at + 1;
      case 'after-item':
        if (byte !== COMMA && byte !== CLOSE_ARRAY) throw broken('a comma is expected');
        this.state = byte === COMMA ? 'item' : 'after-value';
        return at + 1;
      default:
        throw broken('something follows it');
    }
  }

  private begin(byte: number, state: State): void {
    if (byte === COMMA || byte === COLON || byte === CLOSE_ARRAY || byte === CLOSE_OBJECT) {
      throw broken('a value is expected');
    }
    this.state = state;
    this.depth = byte === OPEN_OBJECT || byte === OPEN_ARRAY ? 1 : 0;
    this.inString = byte === QUOTE;
    this.escaped = false;
    this.scalar = this.depth === 0 && !this.inString;
  }

  /** The index after the value's last byte, or -1: it goes on in the next chunk. */
  private skip(chunk: Buffer, start: number): number {
    const end = chunk.length;
    let at = start;
    if (this.scalar) {
      for (; at < end; at++) {
        const byte = chunk[at] ?? 0;
        if (byte === COMMA || byte === CLOSE_ARRAY || byte === CLOSE_OBJECT || byte <= 0x20) return at;
      }
      return -1;
    }
    let { depth, inString, escaped } = this;
    for (; at < end; at++) {
      const byte = chunk[at] ?? 0;
      if (inString) {
        if (escaped) escaped = false;
        else if (byte === BACKSLASH) escaped = true;
        else if (byte === QUOTE) {
          inString = false;
          if (depth === 0) return at + 1;
        }
      } else if (byte === QUOTE) inString = true;
      else if (byte === OPEN_OBJECT || byte === OPEN_ARRAY) depth++;
      else if (byte === CLOSE_OBJECT || byte === CLOSE_ARRAY) {
        depth--;
        if (depth === 0) return at + 1;
      }
    }
    this.depth = depth;
    this.inString = inString;
    this.escaped = escaped;
    return -1;
  }

  private keep(chunk: Buffer, from: number, to: number): void {
    if (this.state === 'in-value' && !KEPT.includes(this.key)) return;
    this.partsLength += to - from;
    if (this.partsLength > this.limit) {
      throw new CodedError(
        'ResourceExhausted',
        `reading a list: one of its elements has more than ${this.limit} bytes, which is the limit`,
        { limit: this.limit },
      );
    }
    this.parts.push(chunk.subarray(from, to));
  }

  private finish(chunk: Buffer, from: number, to: number): void {
    if (this.state === 'in-item') {
      this.state = 'after-item';
      this.onItem(this.parsed(chunk, from, to));
      return;
    }
    this.state = 'after-value';
    if (KEPT.includes(this.key)) this.kept[this.key] = this.parsed(chunk, from, to);
  }

  private parsed(chunk: Buffer, from: number, to: number): unknown {
    let text: string;
    if (this.parts.length === 0) text = chunk.toString('utf8', from, to);
    else {
      this.parts.push(chunk.subarray(from, to));
      text = Buffer.concat(this.parts).toString('utf8');
      this.parts = [];
      this.partsLength = 0;
    }
    try {
      return JSON.parse(text);
    } catch {
      // The parser's message quotes the text, which may be a Secret's.
      throw broken('one of its parts is not JSON');
    }
  }
}

function broken(why: string): CodedError {
  return new CodedError('Unavailable', `reading a list: what came is not a JSON list: ${why}`);
}
