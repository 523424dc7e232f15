import type { Duplex } from 'node:stream';
import { SpdyClient } from './spdy-client.ts';
import type { StreamOptions } from './stream-options.ts';
import { CLOSE_INTERNAL_ERROR, CLOSE_NORMAL, WebSocketEnd } from './websocket.ts';

/** WebSocket channels (remotecommand v5.channel.k8s.io): the first byte of a message. */
const CHANNELS: readonly string[] = ['stdin', 'stdout', 'stderr', 'error', 'resize'];
/** A message of this byte and a channel's says that nothing more comes on that channel. */
const CLOSE_CHANNEL = 255;
/** Streams towards the container. */
const TO_CONTAINER: ReadonlySet<string> = new Set(['stdin', 'resize']);

interface Connection {
  readonly socket: Duplex;
  readonly head: Buffer;
}

/**
 * Carries exec and attach between a WebSocket caller (v5.channel.k8s.io) and the runtime's SPDY streams
 * (v4.channel.k8s.io), as kube-apiserver's StreamTranslator does. Ends when the command has ended or either end is gone.
 */
export function translateExec(caller: Connection, runtime: Connection, options: StreamOptions): void {
  const streams = new Map<number, { readonly channel: number; readonly prefix: Buffer }>();
  const byChannel = new Map<number, number>();
  /** Streams from the container that have not ended. */
  const awaited = new Set<number>();
  let over = false;
  const end = (code: number): void => {
    if (over) return;
    over = true;
    webSocket.close(code);
    spdy.close();
  };

  const spdy = new SpdyClient(runtime.socket, {
    onData: (stream, bytes) => {
      const target = streams.get(stream);
      if (target !== undefined && !webSocket.send(target.prefix, bytes)) spdy.pause();
    },
    onStreamEnd: (stream) => {
      awaited.delete(stream);
      if (awaited.size === 0) end(CLOSE_NORMAL);
    },
    onEnd: () => end(CLOSE_INTERNAL_ERROR),
  });

  let channel = -1;
  let closing: number | undefined;
  const webSocket = new WebSocketEnd(caller.socket, {
    onPiece: (bytes, first) => {
      let rest = bytes;
      if (first) {
        channel = bytes[0] ?? -1;
        closing = undefined;
        rest = bytes.subarray(1);
      }
      if (channel === CLOSE_CHANNEL) {
        if (closing !== undefined || rest.length === 0) return;
        closing = rest[0];
        const stream = byChannel.get(closing ?? -1);
        if (stream !== undefined) spdy.finish(stream);
        return;
      }
      const stream = byChannel.get(channel);
      if (stream !== undefined && rest.length > 0 && !spdy.send(stream, rest)) webSocket.pause();
    },
    onEnd: () => end(CLOSE_NORMAL),
  });
  webSocket.onDrain(() => spdy.resume());
  spdy.onDrain(() => webSocket.resume());

  // The error stream comes first, and the runtime waits until all that it expects are there.
  const wanted = ['error', 'stdin', 'stdout', 'stderr', 'resize'].filter((name) => {
    if (name === 'error') return true;
    return name === 'resize' ? options.tty : options[name as 'stdin' | 'stdout' | 'stderr'];
  });
  for (const name of wanted) {
    const stream = spdy.open({ streamtype: name });
    const number = CHANNELS.indexOf(name);
    streams.set(stream, { channel: number, prefix: Buffer.from([number]) });
    if (TO_CONTAINER.has(name)) byChannel.set(number, stream);
    else awaited.add(stream);
  }
  spdy.begin(runtime.head);
  webSocket.begin(caller.head);
}
