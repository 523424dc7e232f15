import { createHash } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import type { Duplex } from 'node:stream';

/** Of RFC 6455, what the streams of Kubernetes need: binary messages, in pieces of any size, with back-pressure. */
const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
const CONTINUATION = 0;
const TEXT = 1;
const BINARY = 2;
const CLOSE = 8;
const PING = 9;
const PONG = 10;
const LONGEST_CONTROL = 125;
/** More than a piece this long at once, no message is asked to be: its beginning is handed on before its end is there. */
const PIECE = 65_536;

export const CLOSE_NORMAL = 1000;
export const CLOSE_PROTOCOL_ERROR = 1002;
export const CLOSE_INTERNAL_ERROR = 1011;

export interface WebSocketListener {
  /** Part of a message; `first` begins one. The bytes are overwritten after the call. */
  onPiece(bytes: Buffer, first: boolean): void;
  /** The other end has closed, or the connection is gone: nothing more comes, and nothing more is taken. */
  onEnd(): void;
}

/** The subprotocols that a request offers; undefined: it is no WebSocket handshake. */
export function offeredProtocols(headers: IncomingHttpHeaders): readonly string[] | undefined {
  if (headers.upgrade?.toLowerCase() !== 'websocket' || headers['sec-websocket-key'] === undefined) return undefined;
  return (headers['sec-websocket-protocol'] ?? '').split(',').map((name) => name.trim());
}

/** The head of the answer that accepts a handshake. */
export function acceptance(key: string, protocol: string): string {
  const accept = createHash('sha1').update(`${key}${GUID}`).digest('base64');
  return `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\nSec-WebSocket-Protocol: ${protocol}\r\n\r\n`;
}

interface Frame {
  readonly opcode: number;
  readonly mask: Buffer;
  /** Bytes that are still to come, and that have come. */
  left: number;
  seen: number;
  first: boolean;
}

/** The server's end of a WebSocket whose handshake is done. */
export class WebSocketEnd {
  private readonly socket: Duplex;
  private readonly listener: WebSocketListener;
  private unread: Buffer = Buffer.alloc(0);
  private frame: Frame | undefined;
  private control: Buffer[] = [];
  private inMessage = false;
  private ended = false;
  private closeSent = false;

  constructor(socket: Duplex, listener: WebSocketListener) {
    this.socket = socket;
    this.listener = listener;
    socket.on('data', (bytes: Buffer) => this.take(bytes));
    socket.on('end', () => this.end());
    socket.on('close', () => this.end());
    socket.on('error', () => socket.destroy());
  }

  /** What came behind the handshake already. */
  begin(head: Buffer): void {
    if (head.length > 0) this.take(head);
  }

  /** One message, in as many parts as it is given in. False: the connection takes no more for now (`onDrain`). */
  send(...parts: readonly Buffer[]): boolean {
    if (this.ended || this.closeSent) return true;
    return this.write(BINARY, parts);
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

  /** Says good-bye behind what was sent, and ends the connection. */
  close(code: number, reason = ''): void {
    if (!this.closeSent && !this.socket.writableEnded) {
      this.closeSent = true;
      const text = Buffer.from(reason).subarray(0, LONGEST_CONTROL - 2);
      const body = Buffer.alloc(2 + text.length);
      body.writeUInt16BE(code);
      text.copy(body, 2);
      this.write(CLOSE, [body]);
      this.socket.end();
      // The other end's own good-bye may follow; nobody looks at it.
      this.socket.resume();
    }
    this.end();
  }

  private write(opcode: number, parts: readonly Buffer[]): boolean {
    if (!this.socket.writable) return true;
    const length = parts.reduce((sum, part) => sum + part.length, 0);
    this.socket.cork();
    let takes = this.socket.write(headerOf(opcode, length));
    for (const part of parts) takes = this.socket.write(part);
    this.socket.uncork();
    return takes;
  }

  private take(bytes: Buffer): void {
    if (this.ended) return;
    let rest = this.unread.length === 0 ? bytes : Buffer.concat([this.unread, bytes]);
    this.unread = Buffer.alloc(0);
    while (!this.ended) {
      if (this.frame === undefined) {
        const head = parseHead(rest);
        if (head === undefined) break;
        if (!this.accept(head)) return;
        rest = rest.subarray(head.length);
        this.frame = { ...head, left: head.payload, seen: 0, first: head.opcode === BINARY || head.opcode === TEXT };
        if (head.payload > 0) continue;
      }
      const { frame } = this;
      const piece = rest.subarray(0, Math.min(frame.left, PIECE));
      if (piece.length === 0 && frame.left > 0) break;
      rest = rest.subarray(piece.length);
      this.hand(frame, piece);
      if (frame.left === 0) {
        this.frame = undefined;
        if (frame.opcode >= CLOSE) this.act(frame.opcode);
      }
    }
    // It is a view of what the socket gave, which is not used again.
    this.unread = rest;
  }

  /** False when the frame is against the rules, and the connection therefore over. */
  private accept(head: Head): boolean {
    const isControl = head.opcode >= CLOSE;
    const known = [CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG].includes(head.opcode);
    const fits = isControl ? head.fin && head.payload <= LONGEST_CONTROL : true;
    const inOrder = isControl || (head.opcode === CONTINUATION) === this.inMessage;
    if (!known || !fits || !inOrder || !head.masked || head.reserved || !Number.isSafeInteger(head.payload)) {
      this.close(CLOSE_PROTOCOL_ERROR);
      return false;
    }
    if (!isControl) this.inMessage = !head.fin;
    return true;
  }

  private hand(frame: Frame, piece: Buffer): void {
    for (let at = 0; at < piece.length; at++) {
      piece[at] = (piece[at] ?? 0) ^ (frame.mask[(frame.seen + at) & 3] ?? 0);
    }
    frame.seen += piece.length;
    frame.left -= piece.length;
    if (frame.opcode >= CLOSE) this.control.push(Buffer.from(piece));
    else if (piece.length > 0 || frame.first) {
      this.listener.onPiece(piece, frame.first);
      frame.first = false;
    }
  }

  private act(opcode: number): void {
    const body = Buffer.concat(this.control.splice(0));
    if (opcode === PING && !this.closeSent) this.write(PONG, [body]);
    else if (opcode === CLOSE) this.close(body.length >= 2 ? body.readUInt16BE() : CLOSE_NORMAL);
  }

  private end(): void {
    if (this.ended) return;
    this.ended = true;
    this.listener.onEnd();
  }
}

interface Head {
  readonly fin: boolean;
  readonly reserved: boolean;
  readonly opcode: number;
  readonly masked: boolean;
  readonly mask: Buffer;
  readonly payload: number;
  /** Of the head itself. */
  readonly length: number;
}

function parseHead(bytes: Buffer): Head | undefined {
  if (bytes.length < 2) return undefined;
  const [first = 0, second = 0] = bytes;
  const short = second & 0x7f;
  const extra = short === 127 ? 8 : short === 126 ? 2 : 0;
  const masked = (second & 0x80) !== 0;
  const length = 2 + extra + (masked ? 4 : 0);
  if (bytes.length < length) return undefined;
  const payload = extra === 8 ? Number(bytes.readBigUInt64BE(2)) : extra === 2 ? bytes.readUInt16BE(2) : short;
  // A copy: the bytes around it are handed on.
  const mask = masked ? Buffer.from(bytes.subarray(length - 4, length)) : Buffer.alloc(4);
  return {
    fin: (first & 0x80) !== 0,
    reserved: (first & 0x70) !== 0,
    opcode: first & 0x0f,
    masked,
    mask,
    payload,
    length,
  };
}

function headerOf(opcode: number, length: number): Buffer {
  if (length < 126) return Buffer.from([0x80 | opcode, length]);
  if (length < 65_536) {
    const head = Buffer.from([0x80 | opcode, 126, 0, 0]);
    head.writeUInt16BE(length, 2);
    return head;
  }
  const head = Buffer.alloc(10);
  head[0] = 0x80 | opcode;
  head[1] = 127;
  head.writeBigUInt64BE(BigInt(length), 2);
  return head;
}
