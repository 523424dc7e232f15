import type { Duplex } from 'node:stream';
import { CLOSE_INTERNAL_ERROR, CLOSE_NORMAL, WebSocketEnd } from './websocket.ts';

interface Connection {
  readonly socket: Duplex;
  readonly head: Buffer;
}

/** Carries a SPDY connection in binary messages of a WebSocket (SPDY/3.1+portforward.k8s.io): only the wrapping changes. */
export function translateTunnel(caller: Connection, runtime: Connection): void {
  let over = false;
  const end = (code: number): void => {
    if (over) return;
    over = true;
    webSocket.close(code);
    runtime.socket.destroy();
  };
  const webSocket = new WebSocketEnd(caller.socket, {
    onPiece: (bytes) => {
      // The piece is overwritten; a socket that is behind keeps what it is given.
      if (bytes.length > 0 && !runtime.socket.write(Buffer.from(bytes))) webSocket.pause();
    },
    onEnd: () => end(CLOSE_NORMAL),
  });
  const { socket } = runtime;
  const forward = (bytes: Buffer): void => {
    if (!webSocket.send(bytes)) socket.pause();
  };
  socket.on('data', forward);
  socket.on('drain', () => webSocket.resume());
  webSocket.onDrain(() => socket.resume());
  socket.on('end', () => end(CLOSE_NORMAL));
  socket.on('close', () => end(CLOSE_NORMAL));
  socket.on('error', () => end(CLOSE_INTERNAL_ERROR));
  if (runtime.head.length > 0) forward(runtime.head);
  webSocket.begin(caller.head);
}
