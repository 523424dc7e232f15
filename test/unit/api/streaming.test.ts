import { Duplex } from 'node:stream';
import { createInflate } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SpdyClient } from '../../../src/api/streaming/spdy-client.ts';
import { parsePorts, parseStreamOptions } from '../../../src/api/streaming/stream-options.ts';
import { translateExec } from '../../../src/api/streaming/translate-exec.ts';
import { acceptance, offeredProtocols, WebSocketEnd } from '../../../src/api/streaming/websocket.ts';

/** One end of a connection; `sent` is what was written to it, `bring` what the far end says. */
class End extends Duplex {
  sent = Buffer.alloc(0);
  constructor() {
    super({ allowHalfOpen: true });
  }
  override _read(): void {}
  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.sent = Buffer.concat([this.sent, chunk]);
    done();
  }
  async bring(bytes: Buffer): Promise<void> {
    this.push(bytes);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** A frame as a client sends it. */
function frame(opcode: number, payload: Buffer, fin = true, masked = true): Buffer {
  const mask = Buffer.from([1, 2, 3, 4]);
  const first = (fin ? 0x80 : 0) | opcode;
  const bit = masked ? 0x80 : 0;
  const length =
    payload.length < 126
      ? Buffer.from([first, bit | payload.length])
      : payload.length < 65_536
        ? Buffer.from([first, bit | 126, payload.length >> 8, payload.length & 255])
        : Buffer.from([
            first,
            bit | 127,
            0,
            0,
            0,
            0,
            0,
            payload.length >> 16,
            (payload.length >> 8) & 255,
            payload.length & 255,
          ]);
  const body = Buffer.from(payload.map((byte, at) => (masked ? byte ^ (mask[at & 3] ?? 0) : byte)));
  return Buffer.concat([length, ...(masked ? [mask] : []), body]);
}

/** Messages that a server has sent: opcode and payload. */
function framesOf(bytes: Buffer): { opcode: number; payload: Buffer }[] {
  const frames = [];
  for (let at = 0; at < bytes.length; ) {
    const short = bytes[at + 1] ?? 0;
    const [extra, length] =
      short === 126
        ? [2, bytes.readUInt16BE(at + 2)]
        : short === 127
          ? [8, Number(bytes.readBigUInt64BE(at + 2))]
          : [0, short];
    const start = at + 2 + extra;
    frames.push({ opcode: (bytes[at] ?? 0) & 15, payload: bytes.subarray(start, start + length) });
    at = start + length;
  }
  return frames;
}

const BINARY = 2;
const CLOSE = 8;
const PING = 9;

function listen(): { end: End; pieces: (readonly [boolean, string])[]; ended: () => boolean; socket: WebSocketEnd } {
  const end = new End();
  const pieces: (readonly [boolean, string])[] = [];
  let ended = false;
  const socket = new WebSocketEnd(end, {
    onPiece: (bytes, first) => pieces.push([first, bytes.toString('latin1')]),
    onEnd: () => {
      ended = true;
    },
  });
  return { end, pieces, ended: () => ended, socket };
}

/** Pieces joined to messages again. */
function messages(pieces: readonly (readonly [boolean, string])[]): string[] {
  const joined: string[] = [];
  for (const [first, text] of pieces) {
    if (first) joined.push(text);
    else joined.push(`${joined.pop() ?? ''}${text}`);
  }
  return joined;
}

describe('a WebSocket', () => {
  it('is shaken hands with as RFC 6455 says', () => {
    expect(acceptance('dGhlIHNhbXBsZSBub25jZQ==', 'p')).toContain(
      'Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n',
    );
    const headers = { upgrade: 'WebSocket', 'sec-websocket-key': 'k', 'sec-websocket-protocol': 'a, b' };
    expect(offeredProtocols(headers)).toEqual(['a', 'b']);
    expect(offeredProtocols({ upgrade: 'SPDY/3.1' })).toBeUndefined();
  });

  it('brings messages whole however they are cut into frames and reads', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(fc.nat(70_000), { minLength: 1, maxLength: 3 }), { minLength: 1, maxLength: 4 }),
        fc.array(fc.integer({ min: 1, max: 40_000 }), { minLength: 1, maxLength: 6 }),
        async (wanted, cuts) => {
          const { end, pieces } = listen();
          const texts = wanted.map((lengths, i) => lengths.map((length) => String(i).repeat(length)));
          const wire = Buffer.concat(
            texts.flatMap((parts) =>
              parts.flatMap((part, at) => [
                frame(at === 0 ? BINARY : 0, Buffer.from(part), at === parts.length - 1),
                frame(PING, Buffer.from('p')),
              ]),
            ),
          );
          for (let at = 0, i = 0; at < wire.length; i++) {
            const cut = cuts[i % cuts.length] ?? 1;
            await end.bring(Buffer.from(wire.subarray(at, at + cut)));
            at += cut;
          }
          expect(messages(pieces)).toEqual(texts.map((parts) => parts.join('')));
          const pongs = framesOf(end.sent);
          expect(pongs.length).toBe(texts.flat().length);
          expect(pongs.every(({ opcode, payload }) => opcode === 10 && payload.toString() === 'p')).toBe(true);
        },
      ),
      { numRuns: 40 },
    );
  });

  it.each([
    ['a frame without a mask', frame(BINARY, Buffer.from('x'), true, false)],
    ['a reserved bit', Buffer.concat([Buffer.from([0xc2]), frame(BINARY, Buffer.from('x')).subarray(1)])],
    ['an unknown opcode', frame(3, Buffer.from('x'))],
    ['a continuation of nothing', frame(0, Buffer.from('x'))],
    ['a long ping', frame(PING, Buffer.alloc(126))],
    ['a ping in parts', frame(PING, Buffer.alloc(1), false)],
    [
      'a message inside a message',
      Buffer.concat([frame(BINARY, Buffer.from('x'), false), frame(BINARY, Buffer.from('y'))]),
    ],
  ])('ends at %s', async (_, bytes) => {
    const { end, ended } = listen();
    await end.bring(bytes);
    expect(ended()).toBe(true);
    expect(framesOf(end.sent).map(({ opcode, payload }) => [opcode, payload.readUInt16BE()])).toEqual([[CLOSE, 1002]]);
    expect(end.writableEnded).toBe(true);
  });

  it('answers good-bye with good-bye, and sends nothing behind it', async () => {
    const { end, ended, socket } = listen();
    socket.send(Buffer.from('a'), Buffer.alloc(70_000, 'b'));
    await end.bring(frame(CLOSE, Buffer.from([0x03, 0xe8])));
    socket.send(Buffer.from('late'));
    expect(ended()).toBe(true);
    expect(framesOf(end.sent).map(({ opcode, payload }) => [opcode, payload.length])).toEqual([
      [BINARY, 70_001],
      [CLOSE, 2],
    ]);
  });
});

interface SpdyFrame {
  readonly type: number | 'data';
  readonly stream: number;
  readonly flags: number;
  readonly body: Buffer;
}

/** Frames that a client has sent. */
function spdyFrames(bytes: Buffer): SpdyFrame[] {
  const frames: SpdyFrame[] = [];
  for (let at = 0; at < bytes.length; ) {
    const first = bytes.readUInt32BE(at);
    const length = bytes.readUIntBE(at + 5, 3);
    const body = bytes.subarray(at + 8, at + 8 + length);
    const isControl = (first & 0x80000000) !== 0;
    const type = isControl ? first & 0xffff : 'data';
    frames.push({ type, stream: isControl ? body.readUInt32BE() : first, flags: bytes[at + 4] ?? 0, body });
    at += 8 + length;
  }
  return frames;
}

const data = (stream: number, text: string, fin = false): Buffer => {
  const body = Buffer.from(text);
  const head = Buffer.alloc(8);
  head.writeUInt32BE(stream);
  head[4] = fin ? 1 : 0;
  head.writeUIntBE(body.length, 5, 3);
  return Buffer.concat([head, body]);
};
const controlFrame = (type: number, body: Buffer): Buffer => {
  const head = Buffer.alloc(8);
  head.writeUInt16BE(0x8003);
  head.writeUInt16BE(type, 2);
  head.writeUIntBE(body.length, 5, 3);
  return Buffer.concat([head, body]);
};

/** All header blocks are one zlib stream. */
async function headersOf(frames: readonly SpdyFrame[]): Promise<Record<string, string>[]> {
  const inflate = createInflate();
  const blocks: Record<string, string>[] = [];
  for (const { body } of frames.filter(({ type }) => type === 1)) {
    const block = await new Promise<Buffer>((resolve, reject) => {
      inflate.once('data', resolve).once('error', reject);
      inflate.write(body.subarray(10));
    });
    const headers: Record<string, string> = {};
    let at = 4;
    const text = (): string => {
      const length = block.readUInt32BE(at);
      at += 4 + length;
      return block.toString('utf8', at - length, at);
    };
    for (let i = 0; i < block.readUInt32BE(); i++) {
      const name = text();
      headers[name] = text();
    }
    blocks.push(headers);
  }
  return blocks;
}

describe('a SPDY connection', () => {
  it('opens streams, sends and finishes', async () => {
    const end = new End();
    const spdy = new SpdyClient(end, { onData: () => {}, onStreamEnd: () => {}, onEnd: () => {} });
    expect([spdy.open({ streamtype: 'error' }), spdy.open({ streamtype: 'stdin', a: 'b' })]).toEqual([1, 3]);
    spdy.send(3, Buffer.alloc(40_000, 'x'));
    spdy.finish(3);
    await end.bring(controlFrame(6, Buffer.from([0, 0, 0, 2])));
    const frames = spdyFrames(end.sent);
    expect(frames.map(({ type, stream, flags, body }) => [type, stream, flags, type === 1 ? 0 : body.length])).toEqual([
      [1, 1, 0, 0],
      [1, 3, 0, 0],
      ['data', 3, 0, 32_768],
      ['data', 3, 0, 7232],
      ['data', 3, 1, 0],
      [6, 2, 0, 4],
    ]);
    expect(await headersOf(frames)).toEqual([{ streamtype: 'error' }, { streamtype: 'stdin', a: 'b' }]);
  });

  it('hears streams however the bytes are cut', async () => {
    const reply = controlFrame(2, Buffer.from([0, 0, 0, 1, 9, 9, 9]));
    const wire = Buffer.concat([
      reply,
      data(1, 'hello'),
      data(3, 'other', true),
      controlFrame(9, Buffer.alloc(8)),
      data(1, ''),
      controlFrame(3, Buffer.from([0, 0, 0, 5, 0, 0, 0, 1])),
      data(1, '!', true),
    ]);
    for (let size = 1; size < 20; size++) {
      const heard: string[] = [];
      const end = new End();
      new SpdyClient(end, {
        onData: (stream, bytes) => heard.push(...[...bytes.toString()].map((letter) => `${stream}${letter}`)),
        onStreamEnd: (stream, reset) => heard.push(`${stream} ${reset ? 'reset' : 'end'}`),
        onEnd: () => heard.push('over'),
      });
      for (let at = 0; at < wire.length; at += size) await end.bring(wire.subarray(at, at + size));
      end.push(null);
      await new Promise((resolve) => setImmediate(resolve));
      expect(heard.join(' ')).toBe('1h 1e 1l 1l 1o 3o 3t 3h 3e 3r 3 end 5 reset 1! 1 end over');
    }
  });
});

describe('exec between a WebSocket and SPDY', () => {
  it('opens what is asked for, carries it, closes the input and ends with the command', async () => {
    const [caller, runtime] = [new End(), new End()];
    const empty = Buffer.alloc(0);
    translateExec(
      { socket: caller, head: frame(BINARY, Buffer.from('\x00in')) },
      { socket: runtime, head: empty },
      { stdin: true, stdout: true, stderr: true, tty: false },
    );
    await caller.bring(frame(BINARY, Buffer.from('\x04{"Width":1}')));
    await caller.bring(frame(BINARY, Buffer.from([255, 0])));
    const frames = spdyFrames(runtime.sent);
    expect((await headersOf(frames)).map((headers) => headers['streamtype'])).toEqual([
      'error',
      'stdin',
      'stdout',
      'stderr',
    ]);
    expect(frames.slice(4).map(({ stream, flags, body }) => [stream, flags, body.toString()])).toEqual([
      [3, 0, 'in'],
      [3, 1, ''],
    ]);
    await runtime.bring(Buffer.concat([data(5, 'out'), data(7, 'err', true), data(5, '', true)]));
    expect(caller.writableEnded).toBe(false);
    await runtime.bring(data(1, '{"status":"Success"}', true));
    expect(framesOf(caller.sent).map(({ opcode, payload }) => [opcode, payload.toString('latin1')])).toEqual([
      [BINARY, '\x01out'],
      [BINARY, '\x02err'],
      [BINARY, '\x03{"status":"Success"}'],
      [CLOSE, '\x03\xe8'],
    ]);
    expect([caller.writableEnded, runtime.destroyed]).toEqual([true, true]);
  });

  it('has a resize stream and no stderr with a terminal', async () => {
    const [caller, runtime] = [new End(), new End()];
    const empty = Buffer.alloc(0);
    const options = { stdin: true, stdout: true, stderr: false, tty: true };
    translateExec({ socket: caller, head: empty }, { socket: runtime, head: empty }, options);
    await caller.bring(frame(BINARY, Buffer.from('\x04{"Width":1}')));
    const frames = spdyFrames(runtime.sent);
    expect((await headersOf(frames)).map((headers) => headers['streamtype'])).toEqual([
      'error',
      'stdin',
      'stdout',
      'resize',
    ]);
    expect(frames.at(-1)).toMatchObject({ stream: 7, body: Buffer.from('{"Width":1}') });
    caller.push(null);
    await new Promise((resolve) => setImmediate(resolve));
    expect(runtime.destroyed).toBe(true);
  });
});

describe('what of a stream is asked for', () => {
  it('is read as kubelet reads it', () => {
    const streams = (query: string) => parseStreamOptions(new URLSearchParams(query));
    expect(streams('input=1&output=1&error=1&tty=1')).toEqual({ stdin: true, stdout: true, stderr: false, tty: true });
    expect(streams('error=1')).toEqual({ stdin: false, stdout: false, stderr: true, tty: false });
    expect(streams('output=true')).toBeUndefined();
    const ports = (query: string) => parsePorts(new URLSearchParams(query));
    expect(ports('port=80,443&port=8080')).toEqual([80, 443, 8080]);
    expect(
      [ports(''), ports('port=x'), ports('port=0'), ports('port=70000')].every((one) => typeof one === 'string'),
    ).toBe(true);
  });
});
