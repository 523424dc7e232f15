import { connect, type Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import type { Clock } from '../kit/clock.ts';
import { CodedError, messageOf } from '../kit/errors.ts';
import type { ConnectionCredentials, TlsIdentity } from './connection-credentials.ts';
import { endpointOf, proxyFor } from './proxy-choice.ts';
import { connectThroughHttp, connectThroughSocks } from './proxy-handshake.ts';

export interface DialerOptions {
  /** For the TCP connection and the proxy's part. client-go: 30 s. */
  readonly connectMs?: number;
  /** For the TLS handshake. client-go: 10 s. */
  readonly handshakeMs?: number;
  /** The first and the longest pause after a connection that could not be made. Default 200 ms and 5 s. */
  readonly retryMs?: readonly [number, number];
}

export interface DialerDeps {
  readonly credentials: ConnectionCredentials;
  readonly clock: Clock;
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly random?: () => number;
}

export interface Dialed {
  readonly socket: Socket | TLSSocket;
  /** What the server chose, "http/1.1" where it chose nothing. */
  readonly protocol: 'h2' | 'http/1.1';
  readonly generation: number;
}

/**
 * Makes connections to the API server: straight or through a proxy, with the credentials of now. After one that could
 * not be made, whoever wants the next waits a little, so that a hundred watches do not knock a hundred times a second at
 * a server that is away; the wait is the same for all and short, so that they are back soon after it.
 */
export class Dialer {
  readonly server: URL;
  private readonly options: DialerOptions;
  private readonly deps: DialerDeps;
  private notBefore = 0;
  private failures = 0;

  constructor(options: DialerOptions, deps: DialerDeps) {
    this.options = options;
    this.deps = deps;
    this.server = deps.credentials.connection.server;
  }

  /** Throws Unavailable, or what the credentials throw. */
  async dial(protocols: readonly ('h2' | 'http/1.1')[]): Promise<Dialed> {
    const { clock, credentials, random = Math.random } = this.deps;
    const pause = this.notBefore - clock.monotonic();
    if (pause > 0) await clock.sleep(pause);
    try {
      const secure = this.server.protocol === 'https:';
      const identity = secure ? await credentials.tls() : undefined;
      const raw = await this.reach();
      const dialed = identity === undefined ? plain(raw) : await this.secured(raw, identity, protocols);
      this.failures = 0;
      return dialed;
    } catch (error) {
      const [first, most] = this.options.retryMs ?? [200, 5000];
      const full = Math.min(first * 2 ** Math.min(this.failures++, 20), most);
      this.notBefore = clock.monotonic() + full * (0.5 + 0.5 * random());
      if (error instanceof CodedError) throw error;
      // The server may want a certificate or have one that were replaced a moment ago.
      void credentials.reread();
      const cause = error instanceof Error && 'code' in error ? String(error.code) : undefined;
      const message = `connecting to ${this.server.host}: ${reasonOf(error)}`;
      throw new CodedError('Unavailable', message, { reason: cause }, error);
    }
  }

  private async reach(): Promise<Socket> {
    const limitMs = this.options.connectMs ?? 30_000;
    const { connection } = this.deps.credentials;
    const proxy = proxyFor(this.server, connection.proxy, this.deps.env ?? process.env);
    const target = endpointOf(this.server);
    const raw = connect({ ...(proxy === undefined ? target : endpointOf(proxy)), noDelay: true });
    raw.on('error', ignored);
    const steps = async (): Promise<Socket> => {
      await once(raw, 'connect');
      raw.setKeepAlive(true, 30_000);
      if (proxy === undefined) return raw;
      if (proxy.protocol === 'socks5:') {
        await connectThroughSocks(raw, proxy, target);
        return raw;
      }
      const toProxy = proxy.protocol === 'https:' ? await this.securedProxy(raw, proxy) : raw;
      await connectThroughHttp(toProxy, proxy, target);
      return toProxy;
    };
    return await this.within(steps(), limitMs, raw, proxy === undefined ? 'connecting' : 'connecting by the proxy');
  }

  private async securedProxy(raw: Socket, proxy: URL): Promise<Socket> {
    const { host } = endpointOf(proxy);
    const socket = connectTls({ socket: raw, host, ...serverNameOf(host), ALPNProtocols: ['http/1.1'] });
    socket.on('error', ignored);
    await once(socket, 'secureConnect');
    return socket;
  }

  private async secured(
    raw: Socket,
    { generation, context }: TlsIdentity,
    protocols: readonly string[],
  ): Promise<Dialed> {
    const { insecureSkipVerify, serverName } = this.deps.credentials.connection;
    const host = serverName ?? endpointOf(this.server).host;
    const socket = connectTls({
      socket: raw,
      host,
      ...serverNameOf(host),
      secureContext: context,
      rejectUnauthorized: insecureSkipVerify !== true,
      ALPNProtocols: [...protocols],
    });
    socket.on('error', ignored);
    const limitMs = this.options.handshakeMs ?? 10_000;
    await this.within(once(socket, 'secureConnect'), limitMs, socket, 'TLS handshake');
    return { socket, protocol: socket.alpnProtocol === 'h2' ? 'h2' : 'http/1.1', generation };
  }

  private async within<T>(work: Promise<T>, limitMs: number, socket: Socket, what: string): Promise<T> {
    const timer = this.deps.clock.after(limitMs, () => {
      socket.destroy(new Error(`${what}: no answer within ${limitMs} ms`));
    });
    try {
      return await work;
    } catch (error) {
      socket.destroy();
      throw error;
    } finally {
      timer.cancel();
    }
  }
}

function plain(socket: Socket): Dialed {
  return { socket, protocol: 'http/1.1', generation: 0 };
}

/** An address is no server name (RFC 6066 section 3). */
function serverNameOf(host: string): { servername?: string } {
  return /^[0-9.]+$|:/.test(host) ? {} : { servername: host };
}

function once(socket: Socket | TLSSocket, event: 'connect' | 'secureConnect'): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = (): void => {
      socket.off(event, onEvent);
      socket.off('error', onError);
      socket.off('close', onClose);
    };
    const onEvent = (): void => {
      settle();
      resolve();
    };
    const onError = (error: Error): void => {
      settle();
      reject(error);
    };
    const onClose = (): void => {
      settle();
      reject(new Error('the other side closed the connection'));
    };
    socket.on(event, onEvent);
    socket.on('error', onError);
    socket.on('close', onClose);
  });
}

/** Somebody waits for what fails; an error that comes between two waits must not end the process. */
function ignored(): void {}

/** A name with several addresses fails with one error for each. */
function reasonOf(error: unknown): string {
  if (error instanceof AggregateError && error.message === '') return error.errors.map(messageOf).join('; ');
  return messageOf(error);
}
