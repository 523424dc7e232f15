import { X509Certificate } from 'node:crypto';
import { request as httpRequest, type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http';
import { isIP } from 'node:net';
import type { Duplex } from 'node:stream';
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import type { Clock } from '../../kit/clock.ts';
import { messageOf } from '../../kit/errors.ts';
import { joinStreams } from '../../kit/join-streams.ts';
import type { Node, NodeAddress } from '../../model/node.ts';
import type { KeyPair } from '../certificates/key-pair.ts';
import { badRequest, StatusError, statusOf } from './status-error.ts';

/** The way to a node's HTTPS API, for logs, exec, attach and port-forward. */
export interface NodeProxy {
  /**
   * Sends the request on to `path` (with its query) on the node, and the answer back; a refusal as a Status. With `prefix`,
   * the path here that stands for "/" there, it is the node's own answer whatever it is.
   */
  forward(node: Node, path: string, request: IncomingMessage, response: ServerResponse, prefix?: string): Promise<void>;
  /** The same for a connection that is to be upgraded (SPDY or WebSocket). */
  upgrade(node: Node, path: string, request: IncomingMessage, socket: Duplex, head: Buffer): void;
}

export interface HttpsNodeProxyOptions {
  /** Shown to the node: it must be of system:masters or be allowed the proxy verbs. */
  readonly client: KeyPair;
  /**
   * PEM of the certificate that the node must show, its own first; it is compared whole, whoever has signed it. undefined:
   * not known, and not checked, as kube-apiserver does by default. Throws where it is not known yet.
   */
  readonly certificateOf?: (node: Node) => string | undefined;
  readonly connectTimeoutMs: number;
  /** Where a node's API is when its object does not say it right (it listens on loopback). */
  readonly placeOf?: (node: Node) => { readonly host: string; readonly port: number } | undefined;
}

const DEFAULT_PORT = 10250;
const LONGEST_REFUSAL = 2048;
const ADDRESS_TYPES: readonly NodeAddress['type'][] = [
  'InternalIP',
  'Hostname',
  'InternalDNS',
  'ExternalDNS',
  'ExternalIP',
];
// They concern one connection, not the message (RFC 9110, 7.6.1); the caller's credentials stay here.
const NOT_FORWARDED: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'transfer-encoding',
  'te',
  'upgrade',
  'authorization',
  'host',
]);

// What is a connection's own stays: an upgrade is asked for in the same words.
const KEPT_BACK: ReadonlySet<string> = new Set(['authorization', 'cookie', 'host']);

export class HttpsNodeProxy implements NodeProxy {
  private readonly options: HttpsNodeProxyOptions;
  private readonly clock: Pick<Clock, 'after'>;

  constructor(options: HttpsNodeProxyOptions, deps: { readonly clock: Pick<Clock, 'after'> }) {
    this.options = options;
    this.clock = deps.clock;
  }

  forward(
    node: Node,
    path: string,
    request: IncomingMessage,
    response: ServerResponse,
    prefix?: string,
  ): Promise<void> {
    return this.dial(node).then((far) => this.send(node, far, { path, request, response, prefix }));
  }

  private send(node: Node, far: TLSSocket, { path, request, response, prefix }: Forwarded): Promise<void> {
    const { host, port } = this.placeOf(node);
    return new Promise((resolve, reject) => {
      const headers: Record<string, string | string[]> = {};
      for (const [name, value] of Object.entries(request.headers)) {
        if (value !== undefined && !NOT_FORWARDED.has(name)) headers[name] = value;
      }
      headers['host'] = `${isIP(host) === 6 ? `[${host}]` : host}:${port}`;
      const onward = httpRequest({ path, method: request.method ?? 'GET', headers, createConnection: () => far });
      if (response.destroyed) onward.destroy();
      onward.setTimeout(this.options.connectTimeoutMs, () => onward.destroy(new Error('the node does not answer')));
      onward.on('response', (answer) => {
        onward.setTimeout(0);
        if ((answer.statusCode ?? 502) >= 300 && prefix === undefined) {
          refusalOf(answer).then(reject, reject);
          return;
        }
        const kept = withoutHopHeaders(answer.headers);
        const { location } = answer.headers;
        if (prefix !== undefined && location?.startsWith('/') === true) kept['location'] = `${prefix}${location}`;
        response.writeHead(answer.statusCode ?? 502, kept);
        // Followed logs trickle: each piece is sent on as it comes.
        response.flushHeaders();
        answer.pipe(response);
        answer.on('error', () => response.destroy());
        response.on('close', () => {
          onward.destroy();
          resolve();
        });
      });
      onward.on('error', (error) => {
        if (response.headersSent) response.destroy();
        else reject(unreachable(node, error));
      });
      response.on('close', () => onward.destroy());
      request.pipe(onward);
    });
  }

  upgrade(node: Node, path: string, request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const fail = (error: unknown): void => {
      if (!socket.writable) return;
      const status = statusOf(error);
      const body = JSON.stringify(status);
      const start = `HTTP/1.1 ${status.code} ${STATUS_CODES[status.code ?? 500]}\r\ncontent-type: application/json\r\n`;
      socket.end(`${start}connection: close\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
    };
    let place: { host: string; port: number };
    try {
      place = this.placeOf(node);
    } catch (error) {
      fail(error);
      return;
    }
    socket.on('error', () => socket.destroy());
    const headers = ['Host', `${place.host}:${place.port}`];
    for (let at = 0; at + 1 < request.rawHeaders.length; at += 2) {
      const [name = '', value = ''] = [request.rawHeaders[at], request.rawHeaders[at + 1]];
      if (!KEPT_BACK.has(name.toLowerCase()) && !name.toLowerCase().startsWith('impersonate-'))
        headers.push(name, value);
    }
    this.dial(node).then(
      (far) => this.join(node, far, { path, headers, request, socket, head, fail }),
      (error: unknown) => fail(error),
    );
  }

  private join(node: Node, near: TLSSocket, { path, headers, request, socket, head, fail }: Joined): void {
    const onward = httpRequest({ path, method: request.method ?? 'GET', headers, createConnection: () => near });
    onward.setTimeout(this.options.connectTimeoutMs, () => onward.destroy(new Error('the node does not answer')));
    onward.on('error', (error) => fail(unreachable(node, error)));
    onward.on('upgrade', (answer, far: Duplex, farHead) => {
      onward.setTimeout(0);
      socket.write(headOf(answer, 'Switching Protocols'));
      if (farHead.length > 0) socket.write(farHead);
      if (head.length > 0) far.write(head);
      void joinStreams(socket, far, 0, this.clock);
    });
    // Not upgraded: the node's own words, and the end of the connection. Nothing may be asked of the node behind them
    // with this server's credentials (CVE-2018-1002105).
    onward.on('response', (answer) => {
      onward.setTimeout(0);
      socket.write(headOf(answer, answer.statusMessage ?? '', true));
      answer.pipe(socket);
      answer.on('error', () => socket.destroy());
    });
    socket.on('close', () => onward.destroy());
    if (socket.destroyed) onward.destroy();
    else onward.end();
  }

  /** A connection to the node that is known to be the node: nothing is said on it before. */
  private dial(node: Node): Promise<TLSSocket> {
    const { client, certificateOf, connectTimeoutMs } = this.options;
    return new Promise((resolve, reject) => {
      const pem = certificateOf?.(node);
      const wanted = pem === undefined ? undefined : new X509Certificate(pem).fingerprint256;
      const socket = connect({
        ...this.placeOf(node),
        allowHalfOpen: true,
        ALPNProtocols: ['http/1.1'],
        cert: client.certificate,
        key: client.key,
        // A node's own certificate is signed by nobody whom others would believe: it is compared whole.
        rejectUnauthorized: false,
      } as ConnectionOptions);
      const refuse = (error: Error): void => {
        socket.destroy();
        reject(unreachable(node, error));
      };
      const timer = this.clock.after(connectTimeoutMs, () => refuse(new Error('the node does not answer')));
      socket.once('error', refuse);
      socket.once('secureConnect', () => {
        timer.cancel();
        const { fingerprint256 } = socket.getPeerCertificate();
        if (wanted !== undefined && fingerprint256 !== wanted) {
          refuse(new Error('who answers there shows another certificate than the node does'));
          return;
        }
        // The request that takes it over begins to listen a little later.
        socket.off('error', refuse).on('error', () => {});
        socket.setNoDelay(true);
        resolve(socket);
      });
      socket.once('close', () => timer.cancel());
    });
  }

  private placeOf(node: Node): { host: string; port: number } {
    return this.options.placeOf?.(node) ?? addressOf(node);
  }
}

interface Forwarded {
  readonly path: string;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly prefix: string | undefined;
}

interface Joined {
  readonly path: string;
  readonly headers: readonly string[];
  readonly request: IncomingMessage;
  readonly socket: Duplex;
  readonly head: Buffer;
  readonly fail: (error: unknown) => void;
}

function addressOf(node: Node): { host: string; port: number } {
  const { addresses = [], daemonEndpoints } = node.status ?? {};
  for (const type of ADDRESS_TYPES) {
    const host = addresses.find((one) => one.type === type)?.address;
    if (host !== undefined && (isIP(host) !== 0 || host !== '')) {
      return { host, port: daemonEndpoints?.kubeletEndpoint?.Port || DEFAULT_PORT };
    }
  }
  throw new StatusError(
    'Unavailable',
    503,
    'ServiceUnavailable',
    `node "${node.metadata.name}" has no address to reach it by`,
  );
}

function withoutHopHeaders(headers: IncomingMessage['headers']): Record<string, string | string[]> {
  const kept: Record<string, string | string[]> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined && !NOT_FORWARDED.has(name)) kept[name] = value;
  }
  return kept;
}

function unreachable(node: Node, error: Error): StatusError {
  const message = `error dialing the API of node "${node.metadata.name}": ${messageOf(error)}`;
  return new StatusError('Unavailable', 503, 'ServiceUnavailable', message);
}

/** The head of an answer as it came; a body of unknown length ends with the connection. */
function headOf(answer: IncomingMessage, reason: string, last = false): string {
  let text = `HTTP/1.1 ${answer.statusCode} ${reason}\r\n`;
  for (let at = 0; at + 1 < answer.rawHeaders.length; at += 2) {
    const name = answer.rawHeaders[at]?.toLowerCase() ?? '';
    if (last && (name === 'connection' || name === 'transfer-encoding' || name === 'keep-alive')) continue;
    text += `${answer.rawHeaders[at]}: ${answer.rawHeaders[at + 1]}\r\n`;
  }
  return `${text}${last ? 'Connection: close\r\n' : ''}\r\n`;
}

/** What the node says no with, as a Status (registry/generic/rest GenericHttpResponseChecker). */
async function refusalOf(answer: IncomingMessage): Promise<StatusError> {
  let text = '';
  for await (const chunk of answer) {
    text += chunk;
    if (text.length > LONGEST_REFUSAL) break;
  }
  text = text.slice(0, LONGEST_REFUSAL);
  const code = answer.statusCode ?? 502;
  if (code === 400) return badRequest(text);
  if (code === 404)
    return new StatusError('NotFound', 404, 'NotFound', `the server could not find the requested resource: ${text}`);
  const message = code === 500 ? `Internal error occurred: ${text}` : `the node answered ${code}: ${text}`;
  return new StatusError(
    'Internal',
    code,
    code === 500 ? 'InternalError' : (STATUS_CODES[code] ?? 'Unknown').replaceAll(' ', ''),
    message,
  );
}
