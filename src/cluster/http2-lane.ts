import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  constants,
  type IncomingHttpHeaders,
  type IncomingHttpStatusHeader,
} from 'node:http2';
import type { Clock, Timer } from '../kit/clock.ts';
import type { Dialed, Dialer } from './dialer.ts';
import {
  type Lane,
  ProtocolChanged,
  type TransportAnswer,
  type TransportFailure,
  type TransportRequest,
} from './transport.ts';

export interface Http2LaneOptions {
  /** A connection on which nothing came for so long is asked for a sign of life (client-go: 30 s). 0: never. */
  readonly readIdleMs: number;
  /** A connection that gives none for so long is dead (client-go: 15 s). */
  readonly pingMs: number;
}

export interface Http2LaneDeps {
  readonly dialer: Dialer;
  readonly clock: Clock;
}

/** Until the server says how many streams it takes at once, as many as every known one does. */
const STREAMS_AT_FIRST = 100;
/** More than this in one connection helps nobody. */
const MOST_STREAMS = 250;
/** Places in each connection that watches leave to the other requests. */
const KEPT_FOR_REQUESTS = 20;
/** A connection beyond the first that carries nothing ends after so long. */
const SPARE_MS = 60_000;
/**
 * While a request waits for its answer, patience with a silent connection is shorter by this factor. (Node 20 does not
 * notice the reset of a connection whose reading stands still because a write is under way.)
 */
const WAITING = 6;
const STREAM_WINDOW = 512 * 1024;
const SESSION_WINDOW = 2 * 1024 * 1024;

interface Connection {
  readonly session: ClientHttp2Session;
  /** Streams that the server takes at once. */
  most: number;
  /** Streams under way by whether they live long. */
  long: number;
  short: number;
  /** Requests that it has carried. */
  carried: number;
  readonly retiring: Set<() => void>;
  /** Bytes that had come when it was looked at last, and when they were fewer. */
  bytes: number;
  heardAt: number;
  idleSince: number;
  timer: Timer | undefined;
}

/**
 * HTTP/2: requests and watches share a connection; another one is made when the server takes no more streams at once.
 * A connection that is silent is asked for a sign of life, so that a peer that vanished is noticed
 * within 50 s, and within 25 s while a request waits for it.
 */
export class Http2Lane implements Lane {
  readonly generation: number;
  private readonly options: Http2LaneOptions;
  private readonly deps: Http2LaneDeps;
  private readonly connections = new Set<Connection>();
  private dialing: Promise<Connection> | undefined;
  private retired = false;

  /** `first` is a connection that stands already. */
  constructor(options: Http2LaneOptions, deps: Http2LaneDeps, first: Dialed) {
    this.options = options;
    this.deps = deps;
    this.generation = first.generation;
    this.add(first);
  }

  async request(asked: TransportRequest): Promise<TransportAnswer | TransportFailure> {
    let connection: Connection;
    try {
      connection = await this.connectionFor(asked.long, asked.signal);
    } catch (error) {
      return { error, retry: 'never' };
    }
    return await this.onConnection(connection, asked);
  }

  retire(): void {
    this.retired = true;
    for (const connection of this.connections) {
      for (const tell of [...connection.retiring]) tell();
      // Waits for the streams that run.
      connection.session.close();
    }
  }

  close(): void {
    this.retired = true;
    for (const { session } of this.connections) session.destroy();
  }

  private async connectionFor(long: boolean, signal: AbortSignal): Promise<Connection> {
    for (;;) {
      for (const connection of this.connections) if (hasRoom(connection, long)) return connection;
      if (this.dialing === undefined) {
        this.dialing = this.dial().finally(() => {
          this.dialing = undefined;
        });
        // Those who wait for it may all have gone.
        this.dialing.catch(() => {});
      }
      await orAborted(this.dialing, signal);
    }
  }

  private async dial(): Promise<Connection> {
    const dialed = await this.deps.dialer.dial(['h2', 'http/1.1']);
    if (dialed.protocol !== 'h2') {
      dialed.socket.destroy();
      throw new ProtocolChanged();
    }
    return this.add(dialed);
  }

  private add({ socket }: Dialed): Connection {
    const { clock } = this.deps;
    const session = connect(this.deps.dialer.server, {
      createConnection: () => socket,
      settings: { enablePush: false, initialWindowSize: STREAM_WINDOW },
    });
    const now = clock.monotonic();
    const connection: Connection = {
      session,
      most: STREAMS_AT_FIRST,
      long: 0,
      short: 0,
      carried: 0,
      retiring: new Set(),
      bytes: 0,
      heardAt: now,
      idleSince: now,
      timer: undefined,
    };
    this.connections.add(connection);
    // Its streams say what went wrong; without a listener it would end the process.
    session.on('error', () => {});
    session.on('remoteSettings', ({ maxConcurrentStreams }) => {
      connection.most = Math.min(maxConcurrentStreams ?? STREAMS_AT_FIRST, MOST_STREAMS);
    });
    session.on('goaway', () => session.close());
    session.once('connect', () => {
      if (!session.destroyed) session.setLocalWindowSize(SESSION_WINDOW);
    });
    session.on('close', () => {
      this.connections.delete(connection);
      connection.timer?.cancel();
    });
    this.watchOver(connection);
    if (this.retired) session.close();
    return connection;
  }

  private onConnection(connection: Connection, asked: TransportRequest): Promise<TransportAnswer | TransportFailure> {
    const { session } = connection;
    const { method, path, body, long, signal, onRetire } = asked;
    const fresh = connection.carried++ === 0;
    let stream: ClientHttp2Stream;
    try {
      stream = session.request(
        { ':method': method, ':path': path, ':authority': this.deps.dialer.server.host, ...asked.headers },
        { endStream: body === undefined, signal },
      );
    } catch (error) {
      // The session is closing: nothing has been sent.
      return Promise.resolve({ error, retry: signal.aborted ? 'never' : 'always' });
    }
    if (long) connection.long++;
    else connection.short++;
    if (onRetire !== undefined) connection.retiring.add(onRetire);
    stream.once('close', () => {
      if (long) connection.long--;
      else connection.short--;
      if (onRetire !== undefined) connection.retiring.delete(onRetire);
      if (connection.long + connection.short === 0) connection.idleSince = this.deps.clock.monotonic();
    });
    return new Promise((resolve) => {
      let failure: unknown;
      stream.on('response', (headers: IncomingHttpHeaders & IncomingHttpStatusHeader) =>
        resolve({ status: headers[':status'] ?? 0, headers, body: stream }),
      );
      stream.on('error', (error) => {
        failure = error;
      });
      stream.once('close', () => {
        const error = failure ?? new Error(`the server ended the stream with code ${stream.rstCode} and no answer`);
        const refused = stream.rstCode === constants.NGHTTP2_REFUSED_STREAM;
        resolve({ error, retry: refused ? 'always' : fresh ? 'never' : 'reads' });
      });
      if (body !== undefined) stream.end(body);
    });
  }

  /** One timer for each connection, and no work as long as something comes. */
  private watchOver(connection: Connection): void {
    const { readIdleMs, pingMs } = this.options;
    const everyMs = readIdleMs > 0 ? readIdleMs / WAITING : SPARE_MS;
    connection.timer = this.deps.clock.after(everyMs, () => {
      const { session } = connection;
      const now = this.deps.clock.monotonic();
      if (session.destroyed) return;
      const bytes = session.socket?.bytesRead ?? 0;
      if (bytes !== connection.bytes) {
        connection.bytes = bytes;
        connection.heardAt = now;
      }
      const carries = connection.long + connection.short > 0;
      if (!carries && this.connections.size > 1 && now - connection.idleSince >= SPARE_MS) {
        session.close();
        return;
      }
      const patience = connection.short > 0 ? readIdleMs / WAITING : readIdleMs;
      if (readIdleMs > 0 && now - connection.heardAt >= patience) this.ping(connection, pingMs);
      this.watchOver(connection);
    });
  }

  private ping({ session }: Connection, limitMs: number): void {
    const timer = this.deps.clock.after(limitMs, () => {
      session.destroy(new Error(`the connection is dead: no sign of life within ${limitMs} ms`));
    });
    const pinged = session.ping(() => timer.cancel());
    if (!pinged) timer.cancel();
  }
}

function hasRoom({ session, most, long, short }: Connection, forLong: boolean): boolean {
  if (session.closed || session.destroyed) return false;
  const kept = Math.min(KEPT_FOR_REQUESTS, Math.floor(most / 5));
  return long + short < most && (!forLong || long < most - kept);
}

function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason);
    if (signal.aborted) {
      onAbort();
      return;
    }
    signal.addEventListener('abort', onAbort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
