import { createServer as createPlainServer, type IncomingMessage, type Server, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { SecureContextOptions, TLSSocket } from 'node:tls';
import type { Clock } from '../kit/clock.ts';
import type { Unsubscribe } from '../kit/emitter.ts';
import { messageOf } from '../kit/errors.ts';
import { farEnd } from '../kit/far-end.ts';
import type { Logger } from '../kit/log.ts';
import { Authenticator } from './authorization/authenticator.ts';
import type { Authorizer } from './authorization/authorizer.ts';
import { ClientCertificates } from './client-certificates.ts';
import { IdleConnections } from './idle-connections.ts';
import { listen } from './listen.ts';
import type { Caller, ClientAuthorities, Reviews, ServingCertificate } from './port.ts';
import type { RequestMetrics } from './request-metrics.ts';
import { parseTarget } from './request-target.ts';
import { type Router, sendText, type Upgrade } from './router.ts';

export interface NodeServerOptions {
  readonly address: string;
  /** 0: any free one; see `port`. */
  readonly port: number;
  /** Default TLSv1.2. */
  readonly minVersion?: 'TLSv1.2' | 'TLSv1.3';
  /** OpenSSL's list of cipher suites for TLS 1.2; default: Node's. */
  readonly ciphers?: string | undefined;
  /** Who shows no credentials is system:anonymous instead of nobody. */
  readonly anonymous?: boolean;
  /** How long the API server's word on a bearer token holds, in milliseconds. Default 2 min. */
  readonly tokenMs?: number;
  /** How long requests under way may go on once the server closes, in milliseconds. Default 5 s. */
  readonly drainMs?: number;
}

/** How callers are told apart: undefined for a server that answers anybody over plain HTTP (readOnlyPort). */
export interface NodeServerSecurity {
  readonly serving: ServingCertificate;
  /** undefined: nobody is known by certificate. */
  readonly clientAuthorities?: ClientAuthorities | undefined;
  /** undefined: nobody is known by token. */
  readonly tokens?: Pick<Reviews, 'holderOf'> | undefined;
  readonly authorizer: Pick<Authorizer, 'refuse'>;
}

export interface NodeServerDeps {
  readonly security: NodeServerSecurity | undefined;
  readonly router: Router;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics?: RequestMetrics | undefined;
}

/** The head of a request, and all of it, must come within this time: nobody holds the server by being slow. */
const HEADERS_MS = 10_000;
const REQUEST_MS = 30_000;
const CHECK_MS = 2000;
const HANDSHAKE_MS = 10_000;
const HEADER_BYTES = 65_536;
/** Between two requests (kubelet server.go). */
const KEEP_ALIVE_MS = 90_000;
/** A waiting TLS connection takes some 60 KiB. */
const MOST_IDLE = 256;
const DRAIN_MS = 5000;
/** Of the read-only server: nobody is asked who they are there. */
const ANYBODY: Caller = { username: 'system:anonymous', groups: ['system:unauthenticated'] };

/**
 * The node's HTTPS API (kubelet's port 10250): says who calls and whether they may, then hands the request to its router.
 * New certificates and authorities are taken up by new connections; those that are open go on.
 */
export class NodeServer {
  private readonly options: NodeServerOptions;
  private readonly deps: NodeServerDeps;
  private readonly server: Server;
  private readonly certificates: ClientCertificates | undefined;
  private readonly authenticator: Authenticator | undefined;
  private readonly subscriptions: Unsubscribe[] = [];
  private readonly sockets = new Set<Socket>();
  /** Connections that have not shaken hands yet, by their far end. */
  private readonly raw = new Map<string, Socket>();
  private readonly idle = new IdleConnections(MOST_IDLE);
  private busy = 0;
  private whenQuiet: (() => void) | undefined;

  constructor(options: NodeServerOptions, deps: NodeServerDeps) {
    this.options = options;
    this.deps = deps;
    const { security, clock, log } = deps;
    const limits = {
      headersTimeout: HEADERS_MS,
      requestTimeout: REQUEST_MS,
      connectionsCheckingInterval: CHECK_MS,
      keepAliveTimeout: KEEP_ALIVE_MS,
      maxHeaderSize: HEADER_BYTES,
      noDelay: true,
    };
    if (security === undefined) this.server = createPlainServer(limits);
    else {
      const { clientAuthorities, tokens, serving } = security;
      if (clientAuthorities !== undefined) this.certificates = new ClientCertificates(clientAuthorities, { clock });
      this.authenticator = new Authenticator(
        { anonymous: options.anonymous ?? false, tokenMs: options.tokenMs ?? 120_000 },
        { certificates: this.certificates, reviews: tokens, clock, log },
      );
      const server = createServer({
        ...this.context(security),
        ...limits,
        // A stream may end in one direction and go on in the other.
        allowHalfOpen: true,
        handshakeTimeout: HANDSHAKE_MS,
        // Without authorities of our own OpenSSL would believe those of the machine.
        requestCert: clientAuthorities !== undefined,
        // Who shows nothing, or nothing good, is told so in HTTP.
        rejectUnauthorized: false,
        ALPNProtocols: ['http/1.1'],
      });
      server.on('secureConnection', (socket: TLSSocket) => {
        this.certificates?.accept(socket);
        // From here on the connection goes by its TLS end.
        const raw = this.raw.get(farEnd(socket));
        if (raw !== undefined) this.idle.remove(raw);
        this.follow(socket);
      });
      server.on('connection', (socket: Socket) => {
        const key = farEnd(socket);
        this.raw.set(key, socket);
        socket.on('close', () => this.raw.delete(key));
      });
      server.on('tlsClientError', (error) => {
        const why =
          serving.current() === undefined ? 'no serving certificate available for the node' : messageOf(error);
        log.debug({ error: why }, 'a TLS handshake failed');
      });
      this.server = server;
    }
    this.server.on('connection', (socket: Socket) => this.follow(socket));
    this.server.on('request', (request, response) => void this.answer(request, response));
    this.server.on('upgrade', (request, socket, head) => this.upgrade(request, socket, head));
  }

  /** The port it listens on, once started. */
  get port(): number {
    return (this.server.address() as AddressInfo | null)?.port ?? this.options.port;
  }

  /** Throws Unavailable when the address cannot be had, and says which. */
  async start(): Promise<void> {
    const { address } = this.options;
    const { security, log } = this.deps;
    const otherwise = security === undefined ? 'address and readOnlyPort' : 'address and port';
    await listen(this.server, this.options, { what: "the node's API", otherwise }, log);
    if (security !== undefined) {
      this.subscriptions.push(security.serving.subscribe(() => this.reload(security, 'certificate')));
      const followed = security.clientAuthorities?.subscribe(() => this.reload(security, 'client authorities'));
      if (followed !== undefined) this.subscriptions.push(followed);
      // Between the constructor and here something may have come.
      this.reload(security, undefined);
    }
    log.info({ address, port: this.port, secure: security !== undefined }, 'the node API serves');
  }

  /** Takes no more requests; those under way (logs that are followed, streams) may go on for a while. */
  async close(): Promise<void> {
    for (const unsubscribe of this.subscriptions.splice(0)) unsubscribe();
    const closed = new Promise<void>((resolve) => this.server.close(() => resolve()));
    this.server.closeIdleConnections();
    if (this.busy > 0) {
      const quiet = new Promise<void>((resolve) => {
        this.whenQuiet = resolve;
      });
      const late = new AbortController();
      const { drainMs = DRAIN_MS } = this.options;
      await Promise.race([quiet, this.deps.clock.sleep(drainMs, late.signal).catch(() => {})]);
      late.abort();
    }
    for (const socket of this.sockets) socket.destroy();
    await closed;
  }

  private reload(security: NodeServerSecurity, what: string | undefined): void {
    const { log } = this.deps;
    try {
      this.certificates?.reload();
      if ('setSecureContext' in this.server) {
        (this.server as Server & { setSecureContext(context: SecureContextOptions): void }).setSecureContext(
          this.context(security),
        );
      }
      if (what !== undefined) log.info({ what }, 'new connections to the node API use what was replaced');
    } catch (error) {
      log.error({ what, error: messageOf(error) }, 'the node API cannot use what was replaced; going on');
    }
  }

  private context({ serving, clientAuthorities }: NodeServerSecurity): SecureContextOptions {
    const { minVersion = 'TLSv1.2', ciphers } = this.options;
    const shown = serving.current();
    const ca = clientAuthorities?.current();
    return {
      minVersion,
      ...(ciphers === undefined ? {} : { ciphers }),
      ...(shown === undefined ? {} : { cert: shown.cert, key: shown.key }),
      ...(ca === undefined ? {} : { ca }),
    };
  }

  private follow(socket: Socket): void {
    this.sockets.add(socket);
    this.idle.add(socket);
    socket.on('close', () => {
      this.sockets.delete(socket);
      this.idle.remove(socket);
    });
    // A connection that breaks has nobody left to tell.
    socket.on('error', () => {});
  }

  /** Until an upgrade is done, its socket is answered like any other. */
  private upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const response = new ServerResponse(request);
    response.shouldKeepAlive = false;
    response.assignSocket(socket as Socket);
    response.on('finish', () => {
      response.detachSocket(socket as Socket);
      socket.end();
    });
    const take = (): Duplex => {
      response.detachSocket(socket as Socket);
      return socket;
    };
    void this.answer(request, response, { socket, head, take });
  }

  private async answer(request: IncomingMessage, response: ServerResponse, upgrade?: Upgrade): Promise<void> {
    const { socket } = request;
    this.begin(socket);
    const done = this.deps.metrics?.begin(request.method ?? '', request.url ?? '');
    const over = (): void => {
      done?.();
      this.end(socket);
    };
    // A stream goes on after its handler has begun it, and after its response was let go.
    if (upgrade === undefined) response.once('close', over);
    else upgrade.socket.once('close', over);
    try {
      await this.judge(request, response, upgrade);
    } catch (error) {
      this.deps.log.error({ path: request.url, error: messageOf(error) }, 'a request to the node API failed');
      if (response.headersSent) response.destroy();
      else sendText(response, 500, '500: Internal Server Error\n');
    } finally {
      if (!request.complete) request.resume();
    }
  }

  private async judge(request: IncomingMessage, response: ServerResponse, upgrade?: Upgrade): Promise<void> {
    const { security, router } = this.deps;
    const target = parseTarget(request.url ?? '');
    // What is left of a body that nobody reads ends with the connection.
    const refuse = (status: number, text: string): void => {
      if (!request.complete) response.setHeader('connection', 'close');
      sendText(response, status, text);
    };
    if (target === undefined) return refuse(400, '400: Bad Request\n');
    if (target.moved !== undefined) {
      response.setHeader('location', target.moved);
      return refuse(301, 'Moved Permanently\n');
    }
    const { path, query } = target;
    let caller: Caller | undefined = ANYBODY;
    if (security !== undefined) {
      caller = await this.authenticator?.callerOf(request);
      if (caller === undefined) return refuse(401, 'Unauthorized');
      const refusal = await security.authorizer.refuse(caller, request.method ?? '', path);
      if (refusal !== undefined) return refuse(refusal.status, refusal.message);
    }
    await router.handle({ request, response, caller, path, query, upgrade });
  }

  private begin(socket: Socket): void {
    this.busy++;
    this.idle.remove(socket);
  }

  private end(socket: Socket): void {
    this.busy--;
    if (this.server.listening) this.idle.add(socket);
    else if (this.busy === 0) this.whenQuiet?.();
  }
}
