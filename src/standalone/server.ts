import { createServer, type Server } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { join } from 'node:path';
import type { Clock, Timer } from '../kit/clock.ts';
import { CodedError, messageOf, tryAll } from '../kit/errors.ts';
import { farEnd } from '../kit/far-end.ts';
import type { Logger } from '../kit/log.ts';
import type { Authority } from './certificates/authority.ts';
import { bootstrapIdentity } from './certificates/bootstrap-tokens.ts';
import { Credentials } from './certificates/credentials.ts';
import type { KeyPair } from './certificates/key-pair.ts';
import { kubeconfigText, writePrivateFile } from './certificates/kubeconfig.ts';
import { TokenSigner } from './certificates/token-signer.ts';
import type { Faults } from './faults.ts';
import { ApiHandler } from './http/api-handler.ts';
import { Authenticator } from './http/authenticator.ts';
import { NODES_GROUP } from './http/identity.ts';
import type { NodeProxy } from './http/node-proxy.ts';
import { ResourceOperations } from './http/resource-operations.ts';
import { WatchHub } from './http/watch-hub.ts';
import type { MeasureUse } from './metrics/metrics-api.ts';
import type { Admission, Store } from './port.ts';
import { OpenApiDocuments } from './schema/openapi.ts';
import type { SchemaTree } from './schema/schema-tree.ts';
import type { Storage } from './store/storage.ts';
import { WalStore } from './store/wal-store.ts';

export interface EmbeddedApiOptions {
  /** Holds the write-ahead file, the keys and the kubeconfig files; made with mode 0700. */
  readonly dataDir: string;
  /** Default 127.0.0.1. */
  readonly address?: string;
  /** 0: a free one. Default 6443. */
  readonly port?: number;
  /** The node that the second kubeconfig file is for. */
  readonly nodeName: string;
  /** Names and addresses that the server's certificate speaks for, besides loopback and kubernetes.default.svc. */
  readonly serverNames?: readonly string[];
  /** Default https://kubernetes.default.svc.cluster.local; also the audience of tokens that ask for none. */
  readonly issuer?: string;
  readonly historySize?: number;
  readonly compactAtBytes?: number;
  readonly maxInFlight?: number;
}

export interface EmbeddedApiDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly schemas: SchemaTree;
  /** Called when the store is open, with it, the PEM text of the certificate authority, and the authority itself. */
  readonly rules: (store: Store, authority: string, signer: Authority) => ApiRules;
  /** The way to the node's HTTPS API; given the client certificate to show there. None: logs and exec answer 501. */
  readonly nodeProxy?: (client: KeyPair) => NodeProxy;
  /** Measures what metrics.k8s.io shows. None: that group is not served. */
  readonly measure?: MeasureUse;
  readonly random?: () => number;
  readonly faults?: Faults;
  readonly storage?: Storage;
}

/** What works on the objects besides the verbs. */
export interface ApiRules {
  readonly admission: Admission & { close?(): void };
  /** Control loops: started before the server listens, closed after it and before the store. */
  readonly controllers?: { start(): void | Promise<void>; close(): Promise<void> };
}

/** Reported by /version; the newest API that this subset follows. */
export const GIT_VERSION = 'v1.34.0+deckhand';

const DEFAULT_PORT = 6443;
const RENEWAL_CHECK_MS = 6 * 60 * 60 * 1000;
const CLOSE_GRACE_MS = 2_000;
const HANDSHAKE_MS = 10_000;

interface Running {
  readonly store: WalStore;
  readonly rules: ApiRules;
  readonly server: Server;
  readonly watches: WatchHub;
  readonly operations: ResourceOperations;
  readonly credentials: Credentials;
  readonly authenticator: Authenticator;
  readonly url: string;
  readonly port: number;
}

/** The embedded API server: a Kubernetes-compatible subset on loopback TLS, with its state in one folder. */
export class EmbeddedApi {
  /** The administrator's kubeconfig (client certificate), there once `start` has resolved. */
  readonly kubeconfigPath: string;
  /** The node agent's (bearer token; it does not expire). */
  readonly nodeKubeconfigPath: string;
  private readonly options: EmbeddedApiOptions;
  private readonly deps: EmbeddedApiDeps;
  private readonly sockets = new Set<Socket>();
  /** Connections without TLS as yet, by the client's address and port. */
  private readonly handshaking = new Map<string, Socket>();
  private running: Running | undefined;
  private renewal: Timer | undefined;

  constructor(options: EmbeddedApiOptions, deps: EmbeddedApiDeps) {
    this.options = options;
    this.deps = deps;
    this.kubeconfigPath = join(options.dataDir, 'kubeconfig');
    this.nodeKubeconfigPath = join(options.dataDir, 'node.kubeconfig');
  }

  /** Throws when the store is damaged or in use, and when the port is taken (Unavailable). */
  async start(): Promise<{ readonly url: string; readonly port: number }> {
    const { dataDir, address = '127.0.0.1', historySize, compactAtBytes } = this.options;
    const { clock, log, schemas, faults, storage, random = Math.random } = this.deps;
    const credentials = await Credentials.load(
      { folder: join(dataDir, 'pki'), serverNames: [address, ...(this.options.serverNames ?? [])] },
      { clock },
    );
    const serving = await credentials.server();
    const client = await credentials.kubeletClient();
    const store = await WalStore.open(
      {
        path: join(dataDir, 'store.wal'),
        ...(historySize === undefined ? {} : { historySize }),
        ...(compactAtBytes === undefined ? {} : { compactAtBytes }),
      },
      { clock, log, ...(storage === undefined ? {} : { storage }) },
    );
    let rules: ApiRules | undefined;
    try {
      const issuer = this.options.issuer ?? 'https://kubernetes.default.svc.cluster.local';
      const tokens = new TokenSigner({ issuer, privateKey: credentials.tokenKey }, { clock });
      const authenticator = new Authenticator({
        tokens,
        clock,
        bootstrapIdentity: (token) => bootstrapIdentity(store, token, clock.now()),
      });
      authenticator.addToken(credentials.nodeToken, {
        username: `system:node:${this.options.nodeName}`,
        groups: [NODES_GROUP],
      });
      rules = this.deps.rules(store, credentials.authority.pair.certificate, credentials.authority);
      const { admission } = rules;
      const operations = new ResourceOperations({ store, admission, schemas, clock, random });
      const watches = new WatchHub({ store, clock, faults });
      faults?.attach(watches, () => store.forgetHistory());
      const server = createServer({
        ...tlsOptions(serving, credentials),
        requestCert: true,
        // Callers without a certificate may have a token; bad certificates are refused when they are looked at.
        rejectUnauthorized: false,
        ALPNProtocols: ['http/1.1'],
        minVersion: 'TLSv1.2',
        // A stream may end in one direction and go on in the other.
        allowHalfOpen: true,
        keepAliveTimeout: 120_000,
        handshakeTimeout: HANDSHAKE_MS,
        noDelay: true,
      });
      await rules.controllers?.start();
      const port = await listen(server, address, this.options.port ?? DEFAULT_PORT);
      const host = address.includes(':') ? `[${address}]` : address;
      const url = `https://${host}:${port}`;
      const handler = new ApiHandler(
        {
          audience: issuer,
          gitVersion: GIT_VERSION,
          serverAddress: `${host}:${port}`,
          nodeName: this.options.nodeName,
          maxInFlight: this.options.maxInFlight ?? 400,
        },
        {
          store,
          operations,
          watches,
          authenticator,
          tokens,
          openApi: new OpenApiDocuments(schemas, GIT_VERSION),
          clock,
          log,
          random,
          faults,
          nodeProxy: this.deps.nodeProxy?.(client),
          measure: this.deps.measure,
        },
      );
      server.on('request', (request, response) => {
        // While the server closes, a connection ends with the answer that it waits for.
        response.on('close', () => {
          if (!server.listening) server.closeIdleConnections();
        });
        void handler.handle(request, response);
      });
      server.on('upgrade', (request, socket, head) => handler.upgrade(request, socket, head));
      server.on('connection', (socket: Socket) => {
        const key = farEnd(socket);
        this.sockets.add(socket);
        this.handshaking.set(key, socket);
        socket.on('close', () => {
          this.sockets.delete(socket);
          if (this.handshaking.get(key) === socket) this.handshaking.delete(key);
        });
      });
      server.on('secureConnection', (socket) => this.handshaking.delete(farEnd(socket)));
      server.on('tlsClientError', (error) => log.debug({ error: messageOf(error) }, 'a TLS handshake failed'));
      this.running = { store, rules, server, watches, operations, credentials, authenticator, url, port };
      await this.writeKubeconfigs();
      this.renewal = clock.after(RENEWAL_CHECK_MS, () => void this.renew());
      log.info(
        { url, kubeconfig: this.kubeconfigPath, resourceVersion: store.resourceVersion },
        'the embedded API serves',
      );
      return { url, port };
    } catch (error) {
      await closeAll(rules, store).catch((cause: unknown) => {
        log.warn({ error: messageOf(cause) }, 'what the embedded API had started could not be closed');
      });
      throw error;
    }
  }

  /** The objects; there from `start` on. */
  get store(): WalStore {
    return this.started().store;
  }

  /** The verbs, for callers in this process that want what an HTTP request would get. */
  get operations(): ResourceOperations {
    return this.started().operations;
  }

  get url(): string {
    return this.started().url;
  }

  /** The authority in PEM: signs what a node's HTTPS API may be asked to trust. */
  get authority(): string {
    return this.started().credentials.authority.pair.certificate;
  }

  /** Ends the watches, lets requests under way finish (2 s at most), then writes and closes the store. */
  async close(): Promise<void> {
    const { running } = this;
    if (running === undefined) return;
    this.running = undefined;
    this.renewal?.cancel();
    const closed = new Promise<void>((resolve) => running.server.close(() => resolve()));
    running.watches.close();
    running.server.closeIdleConnections();
    // Those carry no request. A client that has left in the middle of a handshake is noticed by its time limit only.
    for (const socket of this.handshaking.values()) socket.destroy();
    const cut = this.deps.clock.after(CLOSE_GRACE_MS, () => {
      for (const socket of this.sockets) socket.destroy();
    });
    await closed;
    cut.cancel();
    await closeAll(running.rules, running.store);
  }

  private started(): Running {
    if (this.running === undefined) throw new CodedError('Unavailable', 'the embedded API is not running');
    return this.running;
  }

  private async writeKubeconfigs(): Promise<void> {
    const { credentials, url: server } = this.started();
    const authority = credentials.authority.pair.certificate;
    const admin = { server, authority, user: 'kubernetes-admin', credential: await credentials.admin() };
    const node = {
      server,
      authority,
      user: `system:node:${this.options.nodeName}`,
      credential: { token: credentials.nodeToken },
    };
    await writePrivateFile(this.kubeconfigPath, kubeconfigText(admin));
    await writePrivateFile(this.nodeKubeconfigPath, kubeconfigText(node));
  }

  /** New certificates are taken up by new connections; those that are open go on. */
  private async renew(): Promise<void> {
    const { running } = this;
    if (running === undefined) return;
    try {
      running.server.setSecureContext(tlsOptions(await running.credentials.server(), running.credentials));
      await this.writeKubeconfigs();
    } catch (error) {
      this.deps.log.error({ error: messageOf(error) }, 'certificates of the embedded API could not be renewed');
    }
    if (this.running !== undefined) this.renewal = this.deps.clock.after(RENEWAL_CHECK_MS, () => void this.renew());
  }
}

async function closeAll(rules: ApiRules | undefined, store: WalStore): Promise<void> {
  await tryAll('close the embedded API', [
    () => rules?.controllers?.close(),
    () => rules?.admission.close?.(),
    () => store.close(),
  ]);
}

function tlsOptions(pair: KeyPair, credentials: Credentials): { cert: string; key: string; ca: string } {
  return { cert: pair.certificate, key: pair.key, ca: credentials.authority.pair.certificate };
}

function listen(server: Server, address: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', (error) => {
      reject(
        new CodedError(
          'Unavailable',
          `serve the embedded API on ${address}:${port}: ${messageOf(error)}`,
          { address, port },
          error,
        ),
      );
    });
    server.listen(port, address, () => resolve((server.address() as AddressInfo).port));
  });
}
