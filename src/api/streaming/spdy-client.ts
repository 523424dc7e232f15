import type { Duplex } from 'node:stream';

/** Of SPDY/3.1 (draft-mbelshe-httpbis-spdy-00), what a client of the runtime's streaming server needs. */
const SYN_STREAM = 1;
const RST_STREAM = 3;
const PING = 6;
const GOAWAY = 7;
const FIN = 1;
const HEAD = 8;
const VERSION = 3;
/** Data frames carry 24 bits of length; smaller ones let streams take turns. */
const LONGEST_DATA = 32_768;

export interface SpdyListener {
  /** What a stream brings; the bytes are not used again. */
  onData(stream: number, bytes: Buffer): void;
  /** Nothing more comes on a stream; `reset`: the other end broke it off. */
  onStreamEnd(stream: number, reset: boolean): void;
  /** The connection has ended. */
  onEnd(): void;
}

/**
 * The client's end of a SPDY connection. Neither end of Kubernetes' streams keeps flow-control windows (moby/spdystream):
 * the connection's own back-pressure is all there is.
 */
export class SpdyClient {
  private readonly socket: Duplex;
  private readonly listener: SpdyListener;
  private unread: Buffer = Buffer.alloc(0);
  private nextStream = 1;
  private firstBlock = true;
  private ended = false;
  /** The data frame that is under way. */
  private data: { readonly stream: number; left: number; readonly fin: boolean } | undefined;

  constructor(socket: Duplex, listener: SpdyListener) {
    this.socket = socket;
    this.listener = listener;
    socket.on('data', (bytes: Buffer) => this.take(bytes));
    socket.on('end', () => this.end());
    socket.on('close', () => this.end());
    socket.on('error', () => socket.destroy());
  }

  begin(head: Buffer): void {
    if (head.length > 0) this.take(head);
  }

  /** Opens a stream; names of headers in lower case. */
  open(headers: Readonly<Record<string, string>>): number {
    const stream = this.nextStream;
    this.nextStream += 2;
    const block = this.block(headers);
    const frame = control(SYN_STREAM, 0, 10 + block.length);
    frame.writeUInt32BE(stream, HEAD);
    block.copy(frame, HEAD + 10);
    this.socket.write(frame);
    return stream;
  }

  /** False: the connection takes no more for now (`onDrain`). */
  send(stream: number, bytes: Buffer): boolean {
    let takes = true;
    this.socket.cork();
    for (let at = 0; at < bytes.length; at += LONGEST_DATA) {
      const part = bytes.subarray(at, at + LONGEST_DATA);
      this.socket.write(dataHead(stream, 0, part.length));
      // What is handed in is used again; a socket that is behind keeps what it is given.
      takes = this.socket.write(Buffer.from(part));
    }
    this.socket.uncork();
    return takes;
  }

  /** Nothing more will be sent on a stream. */
  finish(stream: number): void {
    if (!this.socket.writable) return;
    this.socket.write(dataHead(stream, FIN, 0));
  }

  onDrain(listener: () => void): void {
    this.socket.on('drain', listener);
  }

  pause(): void {
    this.socket.pause();
  }

  resume(): void {
    this.socket.resume();
  }

  close(): void {
    this.socket.destroy();
    this.end();
  }

  /**
   * A block of name and value pairs, as a zlib stream that goes on from block to block. Its pieces are stored, not
   * deflated: no dictionary is needed for that. The empty piece at the end makes the reader give out what it has.
   */
  private block(headers: Readonly<Record<string, string>>): Buffer {
    const parts: Buffer[] = [uint32(Object.keys(headers).length)];
    for (const pair of Object.entries(headers)) {
      for (const text of pair) parts.push(uint32(Buffer.byteLength(text)), Buffer.from(text));
    }
    const pairs = Buffer.concat(parts);
    const start = this.firstBlock ? [Buffer.from([0x78, 0x01])] : [];
    this.firstBlock = false;
    return Buffer.concat([...start, stored(pairs.length), pairs, stored(0)]);
  }

  private take(bytes: Buffer): void {
    let rest = this.unread.length === 0 ? bytes : Buffer.concat([this.unread, bytes]);
    this.unread = Buffer.alloc(0);
    while (!this.ended) {
      if (this.data !== undefined) {
        const part = rest.subarray(0, this.data.left);
        rest = rest.subarray(part.length);
        this.data.left -= part.length;
        const { stream, left, fin } = this.data;
        if (left === 0) this.data = undefined;
        if (part.length > 0) this.listener.onData(stream, part);
        if (left > 0) break;
        if (fin) this.listener.onStreamEnd(stream, false);
        continue;
      }
      if (rest.length < HEAD) break;
      const first = rest.readUInt32BE();
      const flags = rest[4] ?? 0;
      const length = rest.readUIntBE(5, 3);
      if ((first & 0x80000000) === 0) {
        rest = rest.subarray(HEAD);
        this.data = { stream: first, left: length, fin: (flags & FIN) !== 0 };
        continue;
      }
      // Control frames are short: they are waited for whole.
      if (rest.length < HEAD + length) break;
      this.obey(first & 0xffff, flags, rest.subarray(HEAD, HEAD + length));
      rest = rest.subarray(HEAD + length);
    }
    this.unread = rest;
  }

  private obey(type: number, flags: number, body: Buffer): void {
    if (type === PING && body.length === 4) {
      const frame = control(PING, 0, 4);
      body.copy(frame, HEAD);
      this.socket.write(frame);
    } else if (type === RST_STREAM && body.length === 8) {
      this.listener.onStreamEnd(body.readUInt32BE(), true);
    } else if (type === GOAWAY) {
      // What is open goes on until the connection ends.
    } else if ((flags & FIN) !== 0 && body.length >= 4) {
      this.listener.onStreamEnd(body.readUInt32BE() & 0x7fffffff, false);
    }
  }

  private end(): void {
    if (this.ended) return;
    this.ended = true;
    this.listener.onEnd();
  }
}

function control(type: number, flags: number, length: number): Buffer {
  const frame = Buffer.alloc(HEAD + length);
  frame.writeUInt16BE(0x8000 | VERSION);
  frame.writeUInt16BE(type, 2);
  frame[4] = flags;
  frame.writeUIntBE(length, 5, 3);
  return frame;
}

function dataHead(stream: number, flags: number, length: number): Buffer {
  const head = Buffer.alloc(HEAD);
  head.writeUInt32BE(stream);
  head[4] = flags;
  head.writeUIntBE(length, 5, 3);
  return head;
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** The head of a stored piece that is not the last (RFC 1951, 3.2.4). */
function stored(length: number): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt16LE(length, 1);
  head.writeUInt16LE(~length & 0xffff, 3);
  return head;
}
